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

using Ends = std::pair<UniqueFd, UniqueFd>;  ///< the supervisor's and the plugin's

Ends socket_pair() {
  std::array<int, 2> fds{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()) != 0) {
    throw_errno("make a socket for probes");
  }
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

/// The reading and the writing end.
Ends pipe_for_turn() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC | O_NONBLOCK) != 0) throw_errno("make a pipe for the plugin's turn");
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

/// The program's file, as far as there is one.
struct stat file_of(const std::string& program) {
  struct stat file {};
  static_cast<void>(::stat(process::find_program(program).c_str(), &file));
  return file;
}

}  // namespace

Child::Child(asio::io_context& loop, CallQueue& calls, Generation generation, Plan plan,
             std::function<void(std::string)> pass_on, Probe::Sink sink)
    : generation_(generation),
      output_(loop, std::move(pass_on)),
      health_(plan.slow_after),
      program_(file_of(plan.launch.command.at(0))),
      calls_(calls),
      endpoint_(plan.endpoint),
      sink_(std::move(sink)) {
  const UniqueFd output(output_.open());
  process::Launch launch = std::move(plan.launch);
  launch.fds = {-1, output.get(), output.get()};
  launch.dies_with_caller = true;
  if (plan.listener == nullptr) {
    pid_ = process::spawn(launch);
    probe_ = std::make_unique<Probe>(calls, plan.endpoint, sink_);
  } else {
    auto [probe, plugin_probe] = socket_pair();
    auto [plugin_turn, turn] = pipe_for_turn();
    launch.fds.insert(launch.fds.end(), {plan.listener->fd(), plugin_probe.get(), plugin_turn.get()});
    for (std::string& variable : handed_down_environment()) launch.environment.push_back(std::move(variable));
    launch.pid_variable = handed_down_pid_variable;
    pid_ = process::spawn(launch);
    turn_ = std::move(turn);
    probe_ = plan.only_at_endpoint ? std::make_unique<Probe>(calls, plan.endpoint, sink_)
                                   : std::make_unique<Probe>(calls, plan.endpoint, std::move(probe),
                                                             !plan.only_privately, sink_);
  }
}

void Child::probe_anew(Duration timeout) {
  asked_anew_ = true;
  new_probe_ = std::make_unique<Probe>(calls_, endpoint_, sink_);
  new_probe_->probe(generation_, timeout);
}

void Child::activate() {
  if (turn_ && ::write(turn_.get(), "1", 1) == 1) turn_.reset();
}

void Child::send_signal(int signal) {
  killed_ |= signal == SIGKILL;
  if (alive_) ::kill(signal == SIGKILL ? -pid_ : pid_, signal);
}

void Child::reaped() {
  alive_ = false;
  output_.drain();
}

}  // namespace kms::supervisor
