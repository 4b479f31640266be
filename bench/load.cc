// bench-load: keeps N Encrypt calls in flight on M connections and prints calls per second and latencies as
// JSON.
//
// One thread and one completion queue, so that it takes little of the server's share of the machine. Each
// call has the API server's deadline. Calls during the warm-up are not counted.
#include <grpcpp/completion_queue.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <map>
#include <optional>

#include "bench/plugin_channel.h"
#include "common/cli/command_line.h"
#include "common/cli/exit_code.h"
#include "common/net/grpc_status.h"
#include "common/text/escape.h"

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string socket;
  unsigned in_flight = 1;
  unsigned connections = 1;
  kms::Duration warm_up = 1s;
  kms::Duration window = 3s;
  int server_pid = 0;
};

/// The CPU time of all threads of a process, including those that ended (clock_getcpuclockid(3)).
/// /proc/PID/stat counts in steps of 10 ms only.
kms::Duration cpu_time_of(pid_t pid) {
  const std::string name = "the CPU time of process " + std::to_string(pid);
  clockid_t clock{};
  timespec used{};
  if (const int error = ::clock_getcpuclockid(pid, &clock); error != 0)
    throw kms::Error("cannot read " + name + ": " + kms::errno_text(error));
  if (::clock_gettime(clock, &used) != 0) kms::throw_errno("read " + name);
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

/// Returns the value at `share` (0..1] of the sorted values, rounded up; 0 without values. Reorders `values`.
double quantile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  const auto rank = static_cast<std::size_t>(share * static_cast<double>(values.size()) + 0.999999);
  const auto nth =
      values.begin() + static_cast<std::ptrdiff_t>(std::clamp<std::size_t>(rank, 1, values.size()) - 1);
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

/// One of the calls in flight. It is sent again when it is answered.
class Slot {
 public:
  Slot(v2::KeyManagementService::Stub& stub, grpc::CompletionQueue& queue) : stub_(stub), queue_(queue) {}

  void send() {
    context_.emplace();
    kms::bench::prepare(*context_);
    began_ = Clock::now();
    call_ = stub_.AsyncEncrypt(&*context_, request_, &queue_);
    call_->Finish(&response_, &status_, this);
  }

  [[nodiscard]] const grpc::Status& status() const { return status_; }
  [[nodiscard]] Clock::time_point began() const { return began_; }

 private:
  v2::KeyManagementService::Stub& stub_;
  grpc::CompletionQueue& queue_;
  v2::EncryptRequest request_ = kms::bench::encrypt_request();
  v2::EncryptResponse response_;
  grpc::Status status_;
  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v2::EncryptResponse>> call_;
  Clock::time_point began_;
};

/// Calls and latencies between two instants.
struct Window {
  std::vector<double> latencies_us;
  std::map<std::string, unsigned> errors;  ///< count by code and message
  kms::Duration length{};
  kms::Duration server_cpu{};
  kms::Duration client_cpu{};
};

class Load {
 public:
  explicit Load(const Options& options) : options_(options) {
    const kms::Endpoint endpoint = kms::bench::endpoint_of(options.socket);
    for (unsigned i = 0; i < options.connections; ++i) {
      stubs_.push_back(v2::KeyManagementService::NewStub(kms::bench::plugin_channel(endpoint)));
    }
    for (unsigned i = 0; i < options.in_flight; ++i) {
      slots_.push_back(std::make_unique<Slot>(*stubs_[i % stubs_.size()], queue_));
    }
  }

  Window run() {
    for (const auto& slot : slots_) slot->send();
    Window warm_up;
    run_until(Clock::now() + options_.warm_up, warm_up);
    Window window;
    const auto begin = Clock::now();
    const kms::Duration server = server_cpu();
    const kms::Duration client = cpu_time_of(::getpid());
    run_until(begin + options_.window, window);
    window.length = Clock::now() - begin;
    window.server_cpu = server_cpu() - server;
    window.client_cpu = cpu_time_of(::getpid()) - client;
    finish();
    return window;
  }

 private:
  [[nodiscard]] kms::Duration server_cpu() const {
    return options_.server_pid == 0 ? kms::Duration{0} : cpu_time_of(options_.server_pid);
  }

  void run_until(Clock::time_point end, Window& window) {
    void* tag = nullptr;
    bool ok = false;
    for (auto now = Clock::now(); now < end && queue_.Next(&tag, &ok);) {
      auto* slot = static_cast<Slot*>(tag);
      now = Clock::now();
      if (slot->status().ok()) {
        window.latencies_us.push_back(std::chrono::duration<double, std::micro>(now - slot->began()).count());
      } else {
        ++window.errors[kms::describe(slot->status())];
      }
      slot->send();
    }
  }

  void finish() {
    void* tag = nullptr;
    bool ok = false;
    for (std::size_t left = slots_.size(); left > 0 && queue_.Next(&tag, &ok); --left) {
    }
    queue_.Shutdown();
    while (queue_.Next(&tag, &ok)) {
    }
  }

  const Options& options_;
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<v2::KeyManagementService::Stub>> stubs_;
  std::vector<std::unique_ptr<Slot>> slots_;
};

double seconds(kms::Duration duration) { return std::chrono::duration<double>(duration).count(); }

int print(const Options& options, Window window) {
  const auto calls = static_cast<double>(window.latencies_us.size());
  unsigned errors = 0;
  for (const auto& [text, count] : window.errors) errors += count;
  std::printf("{\"in_flight\": %u, \"connections\": %u, \"seconds\": %.3f, \"calls\": %.0f, ",
              options.in_flight, options.connections, seconds(window.length), calls);
  std::printf("\"calls_per_second\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, ",
              calls / seconds(window.length), quantile(window.latencies_us, 0.5),
              quantile(window.latencies_us, 0.99), quantile(window.latencies_us, 1));
  if (window.server_cpu > 0ns) {
    std::printf("\"server_cpu_seconds\": %.3f, \"calls_per_server_cpu_second\": %.1f, ",
                seconds(window.server_cpu), calls / seconds(window.server_cpu));
  }
  std::printf("\"client_cpu_seconds\": %.3f, \"errors\": %u, \"first_error\": %s}\n",
              seconds(window.client_cpu), errors,
              kms::json_string(errors == 0 ? "" : window.errors.begin()->first).c_str());
  return calls > 0 ? kms::exit_code::ok : kms::exit_code::failed;
}

}  // namespace

int main(int argc, char** argv) {
  kms::CommandLine line("bench-load", "Load a KMS v2 plugin with Encrypt calls", "BENCH_LOAD_");
  Options options;
  auto& app = line.app();
  app.add_option("--socket", options.socket, "The plugin's: unix:///path or unix:///@abstract-name")
      ->required();
  app.add_option("--in-flight", options.in_flight, "Calls at a time")->check(CLI::Range(1U, 4096U));
  app.add_option("--connections", options.connections, "Connections that share them")
      ->check(CLI::Range(1U, 1024U));
  kms::add_duration(app, "--warm-up", options.warm_up, "Time that is not counted");
  kms::add_duration(app, "--window", options.window, "Time that is counted", 1ms);
  app.add_option("--server-pid", options.server_pid, "Process whose CPU time is counted");
  if (const auto code = line.parse(argc, argv)) return *code;
  try {
    return print(options, Load(options).run());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench-load: %s\n", error.what());
    return kms::exit_code::failed;
  }
}
