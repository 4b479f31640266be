// bench-first-answer: starts a command and measures the time until its socket answers a good Status.
//
// It connects without gRPC, over and over, so that no client's back-off adds to the time. It prints one JSON
// object per start, except for the first, which warms this program up. After each start it sends TERM to the
// command, and KILL if TERM does not end it.
#include <grpc/grpc.h>
#include <grpcpp/create_channel_posix.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <thread>

#include "bench/plugin_channel.h"
#include "common/cli/command_line.h"
#include "common/cli/exit_code.h"
#include "common/io/fd.h"

namespace {

using namespace std::chrono_literals;
using kms::bench::milliseconds;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string socket;
  std::vector<std::string> command;
  kms::Duration idle_timeout = 30s;
  unsigned repeat = 1;
};

/// Between TERM and KILL.
constexpr auto end_grace = 10s;

/// A started command. The destructor ends it.
class Child {
 public:
  explicit Child(const std::vector<std::string>& command) {
    std::vector<char*> arguments;
    arguments.reserve(command.size() + 1);
    for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO,
                                       STDOUT_FILENO);  // our results go to the other one
    const int error = ::posix_spawnp(&pid_, arguments[0], &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw kms::Error("cannot start " + command[0] + ": " + kms::errno_text(error));
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    ::kill(pid_, SIGTERM);
    const auto until = Clock::now() + end_grace;
    while (::waitpid(pid_, nullptr, WNOHANG) == 0) {
      if (Clock::now() > until) ::kill(pid_, SIGKILL);
      std::this_thread::sleep_for(1ms);
    }
  }

  /// Throws if the command has ended by itself.
  void must_live() const {
    siginfo_t ended{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        ended.si_pid != 0)
      throw kms::Error("the command ended before its first answer");
  }

 private:
  pid_t pid_ = 0;
};

kms::UniqueFd connect_soon(const kms::Endpoint& endpoint, const Child& child, Clock::time_point until) {
  const auto [address, length] = endpoint.address();
  while (Clock::now() < until) {
    kms::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) kms::throw_errno("make a Unix socket");
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0) return fd;
    child.must_live();
    std::this_thread::sleep_for(100us);
  }
  throw kms::Error("nothing listened on " + endpoint.uri() + " in time");
}

void must_be_good(const kms::Endpoint& endpoint, kms::UniqueFd connection) {
  v2::KeyManagementService::Stub stub(grpc::CreateInsecureChannelFromFd("localhost", connection.release()));
  grpc::ClientContext context;
  kms::bench::prepare(context);
  v2::StatusResponse response;
  const grpc::Status status = stub.Status(&context, {}, &response);
  if (!status.ok() || response.healthz() != "ok") {
    throw kms::Error("no good Status on " + endpoint.uri() + ": " + status.error_message() +
                     response.healthz());
  }
}

/// Returns one line of JSON.
std::string measure(const Options& options, const kms::Endpoint& endpoint) {
  const auto begin = Clock::now();
  const Child child(options.command);
  kms::UniqueFd connection = connect_soon(endpoint, child, begin + options.idle_timeout);
  const auto listening = Clock::now();
  must_be_good(endpoint, std::move(connection));
  const auto answered = Clock::now();
  return "{\"listening_ms\": " + std::to_string(milliseconds(listening - begin)) +
         ", \"first_answer_ms\": " + std::to_string(milliseconds(answered - begin)) + "}";
}

}  // namespace

int main(int argc, char** argv) {
  kms::CommandLine line("bench-first-answer", "Measure how long a plugin takes to its first good Status",
                        "BENCH_FIRST_ANSWER_");
  Options options;
  auto& app = line.app();
  app.add_option("--socket", options.socket, "Where it will listen: unix:///path or unix:///@name")
      ->required();
  app.add_option("--repeat", options.repeat, "Starts, one after the other")->check(CLI::Range(1U, 10'000U));
  kms::add_duration(app, "--idle-timeout", options.idle_timeout, "How long a start may take", 1ms);
  app.add_option("command", options.command, "The program and its arguments, after '--'")->required();
  if (const auto code = line.parse(argc, argv)) return *code;
  try {
    const kms::Endpoint endpoint = kms::bench::endpoint_of(options.socket);
    ::grpc_init();
    // The first one is not counted: this process' own first call takes milliseconds longer than later ones.
    for (unsigned i = 0; i <= options.repeat; ++i) {
      const std::string seen = measure(options, endpoint);
      if (i > 0) std::puts(seen.c_str());
    }
    return kms::exit_code::ok;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench-first-answer: %s\n", error.what());
    return kms::exit_code::failed;
  }
}
