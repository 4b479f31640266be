// bench-outage: behaves as kube-apiserver's client does and reports the outage when a plugin dies.
//
// Callers send Encrypt without a pause, wait for ready and redial as grpc-go does. It reads one command per
// line from standard input and writes one JSON object per command to standard output:
//   kill PID SIGNAL   sends the signal, waits until calls succeed again, reports the time
//   mark              reports the calls since the last command
// It ends at the end of its input.
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

#include "bench/plugin_channel.h"
#include "common/cli/command_line.h"
#include "common/cli/exit_code.h"
#include "common/io/fd.h"
#include "common/net/grpc_status.h"
#include "common/text/escape.h"

namespace {

using namespace std::chrono_literals;
using kms::bench::milliseconds;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string socket;
  unsigned callers = 1;
  kms::Duration idle_timeout = 150s;
};

/// The callers' results since the last command.
struct Window {
  unsigned calls = 0;
  unsigned failed = 0;
  std::map<std::string, unsigned> failures;  ///< count by code and message
  kms::Duration longest{};                   ///< of the calls that succeeded

  [[nodiscard]] std::string json() const {
    std::ostringstream out;
    out << "\"calls\": " << calls << ", \"failed\": " << failed << ", \"max_ms\": " << milliseconds(longest)
        << ", \"failures\": {";
    const char* separator = "";
    for (const auto& [text, count] : failures) {
      out << separator << kms::json_string(text) << ": " << count;
      separator = ", ";
    }
    out << "}";
    return out.str();
  }
};

/// The callers write it, the commands read it.
class Observations {
 public:
  explicit Observations(unsigned callers) : served_after_(callers) {}

  void ended(unsigned caller, Clock::time_point began, const grpc::Status& status) {
    const auto now = Clock::now();
    const std::lock_guard lock(mutex_);
    ++window_.calls;
    if (!status.ok()) {
      ++window_.failed;
      ++window_.failures[kms::describe(status)];
      return;
    }
    window_.longest = std::max<kms::Duration>(window_.longest, now - began);
    if (began < event_ || served_after_[caller]) return;
    served_after_[caller] = true;
    if (++served_ == 1) first_success_ = now;
    changed_.notify_one();
  }

  /// Calls that begin from now on are served after the event.
  void event() {
    const std::lock_guard lock(mutex_);
    event_ = Clock::now();
    served_after_.assign(served_after_.size(), false);
    served_ = 0;
  }

  /// When the first call that began after the event succeeded, once all callers had one. Empty after
  /// `idle_timeout`.
  std::optional<Clock::time_point> recovered(kms::Duration idle_timeout) {
    std::unique_lock lock(mutex_);
    const bool all =
        changed_.wait_for(lock, idle_timeout, [this] { return served_ == served_after_.size(); });
    return all ? std::optional(first_success_) : std::nullopt;
  }

  Window take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(window_, {});
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Window window_;
  Clock::time_point event_ = Clock::now();
  Clock::time_point first_success_;
  std::vector<bool> served_after_;
  std::size_t served_ = 0;
};

void call_until(const std::atomic<bool>& over, v2::KeyManagementService::Stub& stub, unsigned caller,
                Observations& observations) {
  const v2::EncryptRequest request = kms::bench::encrypt_request();
  v2::EncryptResponse response;
  while (!over) {
    grpc::ClientContext context;
    const auto began = Clock::now();
    kms::bench::prepare(context);
    observations.ended(caller, began, stub.Encrypt(&context, request, &response));
  }
}

bool refused(const kms::Endpoint& endpoint) {
  const auto [address, length] = endpoint.address();
  const kms::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) kms::throw_errno("make a Unix socket");
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0;
}

/// The time after `killed` in which the path refused connections: 0 if another process holds the socket when
/// the killed one is dead; then it tries one connection only.
kms::Duration refusing(const kms::Endpoint& endpoint, const kms::UniqueFd& process, Clock::time_point killed,
                       kms::Duration idle_timeout) {
  pollfd death{process.get(), POLLIN, 0};
  ::poll(&death, 1, static_cast<int>(milliseconds(idle_timeout)));
  if (!refused(endpoint)) return kms::Duration{0};
  while (refused(endpoint) && Clock::now() < killed + idle_timeout) std::this_thread::sleep_for(200us);
  return Clock::now() - killed;
}

std::string kill_and_wait(const Options& options, const kms::Endpoint& endpoint, Observations& observations,
                          pid_t pid, int signal) {
  const kms::UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) kms::throw_errno("find process " + std::to_string(pid));
  static_cast<void>(observations.take());
  const auto killed = Clock::now();
  if (::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0) != 0) {
    kms::throw_errno("send a signal to process " + std::to_string(pid));
  }
  observations.event();
  std::ostringstream out;
  if (signal == SIGKILL) {
    out << "\"refusing_ms\": " << milliseconds(refusing(endpoint, process, killed, options.idle_timeout))
        << ", ";
  }
  const auto recovered = observations.recovered(options.idle_timeout);
  if (!recovered) throw kms::Error("no call succeeded within " + kms::human_duration(options.idle_timeout));
  return "{\"outage_ms\": " + std::to_string(milliseconds(*recovered - killed)) + ", " + out.str() +
         observations.take().json() + "}";
}

void obey(const Options& options, const kms::Endpoint& endpoint, Observations& observations) {
  if (!observations.recovered(options.idle_timeout))
    throw kms::Error("no call succeeded on " + options.socket);
  std::cout << "{\"ready\": true}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    pid_t pid = 0;
    int signal = SIGKILL;
    words >> command;
    if (command == "mark") {
      std::cout << "{" << observations.take().json() << "}" << std::endl;
    } else if (command == "kill" && words >> pid >> signal && pid > 0) {
      std::cout << kill_and_wait(options, endpoint, observations, pid, signal) << std::endl;
    } else {
      throw kms::Error("cannot understand '" + line + "'", "use: kill PID SIGNAL, or: mark");
    }
  }
}

int run(const Options& options) {
  const kms::Endpoint endpoint = kms::bench::endpoint_of(options.socket);
  const auto stub = v2::KeyManagementService::NewStub(kms::bench::plugin_channel(endpoint));
  Observations observations(options.callers);
  std::atomic<bool> over = false;
  std::vector<std::jthread> callers;
  for (unsigned caller = 0; caller < options.callers; ++caller) {
    callers.emplace_back([&, caller] { call_until(over, *stub, caller, observations); });
  }
  int code = kms::exit_code::ok;
  try {
    obey(options, endpoint, observations);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench-outage: %s\n", error.what());
    code = kms::exit_code::failed;
  }
  over = true;
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  kms::CommandLine line("bench-outage", "See a plugin die as kube-apiserver does", "BENCH_OUTAGE_");
  Options options;
  auto& app = line.app();
  app.add_option("--socket", options.socket, "The plugin's: unix:///path or unix:///@abstract-name")
      ->required();
  app.add_option("--callers", options.callers, "Callers on the one connection")->check(CLI::Range(1U, 1024U));
  kms::add_duration(app, "--idle-timeout", options.idle_timeout, "How long to wait for the first success",
                    1ms);
  if (const auto code = line.parse(argc, argv)) return *code;
  try {
    return run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench-outage: %s\n", error.what());
    return kms::exit_code::failed;
  }
}
