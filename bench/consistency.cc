// bench-consistency: many clients call a provider while another thread rotates its key, and check each answer
// against the contract (rules 14, 27 and 29). Prints the counts as JSON; exit code 1 if a rule was broken.
//
// One thread with one completion queue makes the calls. Each client has its own connection and one call at a
// time: Status, Encrypt, Status, Decrypt of the ciphertext, and again.
#include <grpcpp/completion_queue.h>

#include <charconv>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>

#include "bench/plugin_channel.h"
#include "common/cli/command_line.h"
#include "common/cli/exit_code.h"
#include "common/net/grpc_status.h"
#include "common/text/escape.h"
#include "proto/provider_control.grpc.pb.h"

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string socket;
  unsigned clients = 200;
  kms::Duration rotate_every = 100ms;
  kms::Duration window = 60s;
  int server_pid = 0;
};

/// Counts of calls and broken rules.
struct Seen {
  std::uint64_t calls = 0;
  std::uint64_t failed = 0;         ///< calls that ended with an error
  std::uint64_t disagreements = 0;  ///< a key id that is older than one this client was shown before
  std::uint64_t wrong = 0;          ///< Decrypts that gave another plaintext
  std::string first_error;
};

/// The version in "default/v12/5f1c09ab"; 0 if there is none.
unsigned version_of(const std::string& key_id) {
  unsigned version = 0;
  const auto at = key_id.find("/v");
  if (at != std::string::npos)
    std::from_chars(key_id.data() + at + 2, key_id.data() + key_id.size(), version);
  return version;
}

/// One client. It judges each answer and sends the next call.
class Client {
 public:
  Client(const kms::Endpoint& endpoint, grpc::CompletionQueue& queue)
      : stub_(v2::KeyManagementService::NewStub(kms::bench::plugin_channel(endpoint))), queue_(queue) {}

  void send() {
    context_.emplace();
    kms::bench::prepare(*context_);
    if (step_ == 1) {
      encrypting_ = stub_->AsyncEncrypt(&*context_, request_, &queue_);
      encrypting_->Finish(&sealed_, &status_, this);
    } else if (step_ == 3) {
      v2::DecryptRequest request;
      request.set_uid("consistency");
      request.set_ciphertext(sealed_.ciphertext());
      request.set_key_id(sealed_.key_id());
      *request.mutable_annotations() = sealed_.annotations();
      decrypting_ = stub_->AsyncDecrypt(&*context_, request, &queue_);
      decrypting_->Finish(&opened_, &status_, this);
    } else {
      asking_ = stub_->AsyncStatus(&*context_, v2::StatusRequest(), &queue_);
      asking_->Finish(&shown_, &status_, this);
    }
  }

  void judge(Seen& seen) {
    ++seen.calls;
    if (!status_.ok()) {
      ++seen.failed;
      if (seen.first_error.empty()) seen.first_error = kms::describe(status_);
      step_ = 0;
      return;
    }
    if (step_ == 3) {
      if (opened_.plaintext() != request_.plaintext()) ++seen.wrong;
    } else {
      const unsigned version = version_of(step_ == 1 ? sealed_.key_id() : shown_.key_id());
      if (version < newest_ || version == 0) ++seen.disagreements;
      newest_ = std::max(newest_, version);
    }
    step_ = (step_ + 1) % 4;
  }

 private:
  std::unique_ptr<v2::KeyManagementService::Stub> stub_;
  grpc::CompletionQueue& queue_;
  int step_ = 0;         ///< 0 and 2: Status, 1: Encrypt, 3: Decrypt
  unsigned newest_ = 0;  ///< version that this client was shown
  const v2::EncryptRequest request_ = kms::bench::encrypt_request();
  v2::StatusResponse shown_;
  v2::EncryptResponse sealed_;
  v2::DecryptResponse opened_;
  grpc::Status status_;
  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v2::StatusResponse>> asking_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v2::EncryptResponse>> encrypting_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v2::DecryptResponse>> decrypting_;
};

/// Rotates at a fixed pace until end().
class Rotator {
 public:
  Rotator(const kms::Endpoint& kms_socket, kms::Duration pace)
      : stub_(mock_kms::v1::ProviderControl::NewStub(
            kms::bench::plugin_channel(kms::bench::endpoint_of(kms_socket.uri() + ".control")))),
        thread_([this, pace](const std::stop_token& stop) { run(stop, pace); }) {}

  /// Returns the number of rotations.
  unsigned end() {
    thread_.request_stop();
    thread_.join();
    return rotations_;
  }

 private:
  void run(const std::stop_token& stop, kms::Duration pace) {
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    for (auto next = Clock::now(); !stop.stop_requested(); next += pace) {
      grpc::ClientContext context;
      kms::bench::prepare(context);
      mock_kms::v1::RotateReply reply;
      if (stub_->Rotate(&context, {}, &reply).ok()) ++rotations_;
      never.wait_until(lock, stop, next + pace, [] { return false; });
    }
  }

  std::unique_ptr<mock_kms::v1::ProviderControl::Stub> stub_;
  unsigned rotations_ = 0;  ///< written by the thread until it is joined
  std::jthread thread_;
};

/// Resident memory that no file backs, in KiB; 0 for no process.
long own_memory_kib(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("RssAnon:")) return std::stol(line.substr(8));
  }
  return 0;
}

class Consistency {
 public:
  explicit Consistency(const Options& options)
      : options_(options), endpoint_(kms::bench::endpoint_of(options.socket)) {
    for (unsigned i = 0; i < options.clients; ++i) {
      clients_.push_back(std::make_unique<Client>(endpoint_, queue_));
    }
  }

  int run() {
    Rotator rotator(endpoint_, options_.rotate_every);
    for (const auto& client : clients_) client->send();
    const auto begin = Clock::now();
    run_until(begin + options_.window / 3);  // by then all that is cached is there
    const long before = own_memory_kib(options_.server_pid);
    run_until(begin + options_.window);
    const long after = own_memory_kib(options_.server_pid);
    const unsigned rotations = rotator.end();
    finish();
    return print(rotations, before, after);
  }

 private:
  void run_until(Clock::time_point end) {
    void* tag = nullptr;
    bool ok = false;
    while (Clock::now() < end && queue_.Next(&tag, &ok)) {
      auto* client = static_cast<Client*>(tag);
      client->judge(seen_);
      client->send();
    }
  }

  void finish() {
    void* tag = nullptr;
    bool ok = false;
    for (std::size_t left = clients_.size(); left > 0 && queue_.Next(&tag, &ok); --left) {
      static_cast<Client*>(tag)->judge(seen_);
    }
    queue_.Shutdown();
    while (queue_.Next(&tag, &ok)) {
    }
  }

  int print(unsigned rotations, long before, long after) const {
    std::printf("{\"clients\": %zu, \"seconds\": %.1f, \"calls\": %llu, \"rotations\": %u, ", clients_.size(),
                std::chrono::duration<double>(options_.window).count(),
                static_cast<unsigned long long>(seen_.calls), rotations);
    std::printf(
        "\"disagreements\": %llu, \"wrong_plaintexts\": %llu, \"failed\": %llu, \"first_error\": %s, ",
        static_cast<unsigned long long>(seen_.disagreements), static_cast<unsigned long long>(seen_.wrong),
        static_cast<unsigned long long>(seen_.failed), kms::json_string(seen_.first_error).c_str());
    std::printf("\"own_memory_kib_after_a_third\": %ld, \"own_memory_kib_at_the_end\": %ld}\n", before,
                after);
    const bool good =
        seen_.calls > 0 && rotations > 0 && seen_.disagreements + seen_.wrong + seen_.failed == 0;
    return good ? kms::exit_code::ok : kms::exit_code::failed;
  }

  const Options& options_;
  const kms::Endpoint endpoint_;
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<Client>> clients_;
  Seen seen_;
};

}  // namespace

int main(int argc, char** argv) {
  kms::CommandLine line("bench-consistency", "Call a provider with many clients while its key is rotated",
                        "BENCH_CONSISTENCY_");
  Options options;
  auto& app = line.app();
  app.add_option("--socket", options.socket, "The provider's; its control socket is beside it")->required();
  app.add_option("--clients", options.clients, "Connections, with one call at a time each")
      ->check(CLI::Range(1U, 1024U));
  kms::add_duration(app, "--rotate-every", options.rotate_every, "Time between two rotations", 1ms);
  kms::add_duration(app, "--window", options.window, "How long all of it lasts", 1ms);
  app.add_option("--server-pid", options.server_pid, "Process whose memory is looked at");
  if (const auto code = line.parse(argc, argv)) return *code;
  try {
    return Consistency(options).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench-consistency: %s\n", error.what());
    return kms::exit_code::failed;
  }
}
