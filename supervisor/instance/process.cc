#include "supervisor/instance/process.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <utility>

#include "common/error.h"
#include "common/net/handed_down.h"

namespace kms::supervisor {
namespace {

/// Members of the group may be other processes' children, so that no SIGCHLD announces their end.
constexpr auto group_check_interval = std::chrono::milliseconds(10);

struct Ends {
  UniqueFd ours;
  UniqueFd plugins;
};

Ends probe_sockets() {
  std::array<int, 2> fds{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()) != 0)
    throw_errno("make a socket for probes");
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Ends activation_pipe() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC | O_NONBLOCK) != 0) throw_errno("make a pipe that activates the plugin");
  return {UniqueFd(fds[1]), UniqueFd(fds[0])};
}

/// All zeros if there is no such file.
struct stat file_of(const std::string& program) {
  struct stat file {};
  static_cast<void>(::stat(process::find_program(program).c_str(), &file));
  return file;
}

}  // namespace

PluginProcess::PluginProcess(asio::io_context& loop, CallQueue& calls, Generation generation, Options options,
                             std::function<void(std::string)> on_line, Probe::Sink sink)
    : generation_(generation),
      group_timer_(loop),
      output_(loop, std::move(on_line)),
      health_(options.slow_after),
      program_(file_of(options.launch.command.at(0))),
      calls_(calls),
      endpoint_(options.endpoint),
      sink_(std::move(sink)) {
  const UniqueFd output(output_.open());
  process::Launch launch = std::move(options.launch);
  launch.fds = {-1, output.get(), output.get()};
  launch.dies_with_caller = true;
  if (options.listener == nullptr) {
    pid_ = process::spawn(launch);
    probe_ = std::make_unique<Probe>(calls, options.endpoint, sink_);
    return;
  }
  Ends probe = probe_sockets();
  Ends activation = activation_pipe();
  launch.fds.insert(launch.fds.end(),
                    {options.listener->fd(), probe.plugins.get(), activation.plugins.get()});
  for (std::string& variable : handed_down_environment()) launch.environment.push_back(std::move(variable));
  launch.pid_variable = handed_down_pid_variable;
  pid_ = process::spawn(launch);
  activation_ = std::move(activation.ours);
  probe_ = options.only_at_endpoint ? std::make_unique<Probe>(calls, options.endpoint, sink_)
                                    : std::make_unique<Probe>(calls, options.endpoint, std::move(probe.ours),
                                                              !options.only_privately, sink_);
}

void PluginProcess::probe_anew(Duration timeout) {
  probed_anew_ = true;
  new_probe_ = std::make_unique<Probe>(calls_, endpoint_, sink_);
  new_probe_->probe(generation_, timeout);
}

void PluginProcess::activate() {
  if (activation_ && ::write(activation_.get(), "1", 1) == 1) activation_.reset();
}

void PluginProcess::send_signal(int signal) {
  asked_to_end_ = true;
  killed_ |= signal == SIGKILL;
  ::kill(-pid_, signal);
}

/// The group's number cannot be reused while the group has members.
void PluginProcess::leader_ended(const std::function<void()>& on_end) {
  output_.drain();
  if (!asked_to_end_ || killed_ || ::kill(-pid_, 0) != 0) return on_end();
  group_timer_.expires_after(group_check_interval);
  group_timer_.async_wait([this, on_end](const asio::error_code& stopped) {
    if (!stopped) leader_ended(on_end);
  });
}

}  // namespace kms::supervisor
