#include "supervisor/child.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <utility>

#include "proto/handed_down.h"
#include "proto/program/error.h"
#include "supervisor/binaries.h"

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
Ends pipe_for(const char* purpose) {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC | O_NONBLOCK) != 0)
    throw_errno(std::string("make a pipe for the plugin's ") + purpose);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

/// The program's file. Says before the start what the step to exec could say only by an exit code.
struct stat check_program(const std::string& program) {
  const std::string path = find_program(program);
  if (path.empty())
    throw Error("cannot start " + program + ": not found in PATH", "check the command's path");
  struct stat file {};
  if (::stat(path.c_str(), &file) != 0) throw_errno("start " + program, "check the command's path");
  if (S_ISDIR(file.st_mode))
    throw Error("cannot start " + program + ": it is a folder", "name the plugin's file");
  if (::access(path.c_str(), X_OK) != 0)
    throw_errno("start " + program, "make the file executable (chmod +x)");
  return file;
}

}  // namespace

Child::Child(asio::io_context& loop, CallQueue& calls, Generation generation, Plan plan,
             std::function<void(std::string)> pass_on, Probe::Sink sink)
    : generation_(generation),
      output_(loop, std::move(pass_on)),
      health_(plan.slow_after),
      program_(check_program(plan.step.command.at(0))),
      calls_(calls),
      endpoint_(plan.endpoint),
      sink_(std::move(sink)) {
  const UniqueFd output(output_.open());
  auto [report, plugin_report] = pipe_for("start");
  process::Launch launch{{}, std::move(plan.environment), {-1, output.get(), output.get()}, "", true};
  if (plan.listener == nullptr) {
    start(plan, std::move(launch), plugin_report);
    probe_ = std::make_unique<Probe>(calls, plan.endpoint, sink_);
  } else {
    auto [probe, plugin_probe] = socket_pair();
    auto [plugin_turn, turn] = pipe_for("turn");
    launch.fds.insert(launch.fds.end(), {plan.listener->fd(), plugin_probe.get(), plugin_turn.get()});
    for (std::string& variable : handed_down_environment()) launch.environment.push_back(std::move(variable));
    start(plan, std::move(launch), plugin_report);
    turn_ = std::move(turn);
    probe_ = plan.only_at_endpoint ? std::make_unique<Probe>(calls, plan.endpoint, sink_)
                                   : std::make_unique<Probe>(calls, plan.endpoint, std::move(probe),
                                                             !plan.only_privately, sink_);
  }
  report_ = std::move(report);
}

/// The report's descriptor comes last, so that the others keep the numbers that the plugin is told.
void Child::start(const Plan& plan, process::Launch launch, const UniqueFd& report) {
  process::ExecStep step = plan.step;
  step.report_fd = static_cast<int>(launch.fds.size());
  launch.fds.push_back(report.get());
  launch.command = process::exec_step_command(step);
  pid_ = process::spawn(launch);
  alive_ = true;
}

void Child::probe_anew(Duration timeout) {
  asked_anew_ = true;
  new_probe_ = std::make_unique<Probe>(calls_, endpoint_, sink_);
  new_probe_->probe(generation_, timeout);
}

void Child::give_turn() {
  if (turn_ && ::write(turn_.get(), "1", 1) == 1) turn_.reset();
}

void Child::send_signal(int signal) {
  killed_ |= signal == SIGKILL;
  if (alive_) ::kill(signal == SIGKILL ? -pid_ : pid_, signal);
}

void Child::reaped() {
  alive_ = false;
  output_.drain();
  std::array<char, 1024> cause{};
  const ssize_t size = ::read(report_.get(), cause.data(), cause.size());
  if (size > 0) launch_failure_.assign(cause.data(), static_cast<std::size_t>(size));
  report_.reset();
}

}  // namespace kms::supervisor
