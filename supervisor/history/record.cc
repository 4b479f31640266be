#include "supervisor/history/record.h"

#include <algorithm>
#include <array>
#include <csignal>

#include "common/text/protobuf.h"

namespace kms::supervisor {
namespace {

/// The API server writes on under the key that it knows this long after the last good Status (rule 33).
constexpr Duration lease = std::chrono::seconds(180);

mock_kms::v1::State state_of(const State& state) {
  // In the order of State's alternatives.
  static constexpr std::array states{mock_kms::v1::BACKING_OFF, mock_kms::v1::STARTING, mock_kms::v1::SERVING,
                                     mock_kms::v1::ENDING,      mock_kms::v1::STOPPING, mock_kms::v1::PAUSED,
                                     mock_kms::v1::STOPPED};
  static_assert(states.size() == std::variant_size_v<State>);
  return states.at(state.index());
}

}  // namespace

void Record::ended(mock_kms::v1::Exit end) {
  if (last_outage_ && last_outage_->pid == static_cast<pid_t>(end.pid()))
    *end.mutable_outage() = to_proto(last_outage_->duration);
  exits_.push_front(std::move(end));
  if (exits_.size() > kept_exits) exits_.pop_back();
}

mock_kms::v1::Exit* Record::exit_of(pid_t pid) {
  for (auto& end : exits_) {
    if (static_cast<pid_t>(end.pid()) == pid) return &end;
  }
  return nullptr;
}

void Record::outage_began(pid_t pid, Time now) {
  if (!outage_) outage_ = BeganOutage{pid, now};
}

std::optional<Outage> Record::outage_over(Time now) {
  if (!outage_) return std::nullopt;
  mock_kms::v1::Exit* end = exit_of(outage_->pid);
  last_outage_ = Outage{outage_->pid, end == nullptr ? "" : end->cause(), now - outage_->began};
  if (end != nullptr) *end->mutable_outage() = to_proto(last_outage_->duration);
  outage_.reset();
  return last_outage_;
}

void Record::entered(const State& state, WallTime now) {
  const mock_kms::v1::State next = state_of(state);
  if (next == state_) return;
  if (next == mock_kms::v1::PAUSED) outage_.reset();
  state_ = next;
  since_ = now;
}

std::string Record::termination_message() const {
  if (exits_.empty()) return "";
  const mock_kms::v1::Exit& end = exits_.front();
  std::string words = "the plugin " + end.status() + ": " + end.cause() + "\n";
  for (const std::string& line : end.last_lines()) words += "| " + line + "\n";
  return words;
}

std::string Record::reason(const Child* active, const std::string& unreachable) const {
  switch (state_) {
    case mock_kms::v1::STARTING:
    case mock_kms::v1::SERVING:
      return active == nullptr || active->health().good() ? unreachable : active->health().reason();
    case mock_kms::v1::ENDING:
      return "the plugin is being ended" +
             (active == nullptr || active->health().good() ? "" : ": " + active->health().reason());
    case mock_kms::v1::BACKING_OFF:
      return exits_.empty() ? "the plugin is about to start"
                            : "the plugin " + exits_.front().status() + ": " + exits_.front().cause();
    case mock_kms::v1::PAUSED:
      return "paused by " + paused_by_ + "; 'supervisor start' starts the plugin again";
    case mock_kms::v1::STOPPED:
      return exits_.empty()
                 ? "it has ended"
                 : "it has ended for good; " + exits_.front().status() + ": " + exits_.front().cause();
    default:
      return paused_by_.empty() ? "the supervisor was told to stop" : "being paused by " + paused_by_;
  }
}

void Record::fill(mock_kms::v1::SupervisorStatus& status, const Child* active, const std::string& unreachable,
                  Time now) const {
  status.set_state(state_);
  *status.mutable_since() = to_timestamp(since_);
  status.set_ready(state_ == mock_kms::v1::SERVING);
  status.set_healthy(status.ready() && active != nullptr && active->health().good() && unreachable.empty());
  status.set_reason(reason(active, unreachable));
  status.set_restarts(active_processes_ == 0 ? 0 : active_processes_ - 1);
  if (next_start_ && state_ == mock_kms::v1::BACKING_OFF)
    *status.mutable_next_start_at() = to_timestamp(*next_start_);
  if (state_ == mock_kms::v1::PAUSED) status.set_paused_by(paused_by_);
  if (active != nullptr) {
    status.set_pid(static_cast<std::uint32_t>(active->pid()));
    *status.mutable_started_at() = to_timestamp(active->started());
    active->health().fill(status);
  }
  if (good_at_)
    *status.mutable_lease_left() = to_proto(std::max<Duration>(lease - (now - *good_at_), Duration{0}));
  for (const auto& end : exits_) *status.add_exits() = end;
}

std::string cause_text(EndCause cause, const std::optional<process::ExitStatus>& status,
                       const Policy& policy) {
  switch (cause) {
    case EndCause::exited:
      if (!status || !status->signaled()) return "it ended by itself; its last lines may say why";
      if (status->value() == SIGTERM || status->value() == SIGINT || status->value() == SIGHUP) {
        return "a signal that the supervisor did not send";
      }
      return "it crashed";
    case EndCause::unresponsive:
      return "no answer to " + std::to_string(policy.failure_threshold) +
             " probes in a row; the supervisor ended it (TERM, then KILL after " +
             go_duration(policy.hang_grace) + ")";
    case EndCause::never_ready:
      return "no answer within " + go_duration(policy.startup_timeout) +
             " of its start; check that it listens on the socket that the supervisor probes";
    case EndCause::unhealthy:
      return "it did not answer as the contract asks, and --restart-on unhealthy has it ended for that";
    case EndCause::stop_requested:
      return "the supervisor was told to stop it";
    case EndCause::replaced:
      return "a planned restart replaced it";
    case EndCause::launch_failed:
      return "it could not be started";
  }
  return "";
}

std::string cause_of_kill(bool out_of_memory, const std::string& counter) {
  if (out_of_memory) {
    return "the kernel killed it for want of memory (an out-of-memory kill, counted in " + counter +
           "); raise the memory limit";
  }
  if (counter.empty()) {
    return "a SIGKILL that the supervisor did not send; look for an out-of-memory kill in the kernel's log";
  }
  return "a SIGKILL that the supervisor did not send; the kernel has counted no out-of-memory kill, so "
         "someone "
         "sent it";
}

}  // namespace kms::supervisor
