#include "supervisor/history/record.h"

#include <algorithm>
#include <array>
#include <csignal>

#include "common/text/protobuf.h"

namespace kms::supervisor {
namespace {

using log::Level;

mock_kms::v1::State state_of(const State& state) {
  // In the order of State's alternatives.
  static constexpr std::array states{mock_kms::v1::BACKING_OFF, mock_kms::v1::STARTING, mock_kms::v1::SERVING,
                                     mock_kms::v1::ENDING,      mock_kms::v1::STOPPING, mock_kms::v1::PAUSED,
                                     mock_kms::v1::STOPPED};
  static_assert(states.size() == std::variant_size_v<State>);
  return states.at(state.index());
}

bool was_requested(EndCause cause) {
  return cause == EndCause::stop_requested || cause == EndCause::replaced;
}

/// mock-kms-provider logs a line before an injected fault ends or freezes it (provider/faults/effects.cc).
bool was_injected(EndCause cause, const std::vector<std::string>& last_lines) {
  const char* line_of_fault = cause == EndCause::exited         ? "a fault ends the process"
                              : cause == EndCause::unresponsive ? "a fault freezes the process"
                                                                : nullptr;
  return line_of_fault != nullptr &&
         std::any_of(last_lines.begin(), last_lines.end(), [line_of_fault](const std::string& line) {
           return line.find(line_of_fault) != std::string::npos;
         });
}

/// Explains a SIGKILL that the supervisor did not send. `counter` is the file in which the kernel counts its
/// out-of-memory kills; "" if there is none.
std::string cause_of_kill(bool out_of_memory, const std::string& counter) {
  if (out_of_memory) {
    return "the kernel killed it because memory ran out (an out-of-memory kill, counted in " + counter +
           "); raise the memory limit";
  }
  if (counter.empty()) {
    return "a SIGKILL that the supervisor did not send; look for an out-of-memory kill in the kernel's log";
  }
  return "a SIGKILL that the supervisor did not send; the kernel has counted no out-of-memory kill, so "
         "someone sent it";
}

std::string cause_of_exit(const std::optional<process::ExitStatus>& status) {
  if (status && status->success())
    return "it ended by itself without an error; a plugin must stay in the foreground and not become a "
           "daemon";
  if (!status || !status->signaled()) return "it ended by itself; its last lines may say why";
  const int signal = status->value();
  return signal == SIGTERM || signal == SIGINT || signal == SIGHUP
             ? "a signal that the supervisor did not send"
             : "it crashed";
}

/// The lifecycle's cause for people, with what the exit status adds.
std::string cause_text(EndCause cause, const std::optional<process::ExitStatus>& status,
                       const Policy& policy) {
  switch (cause) {
    case EndCause::exited:
      return cause_of_exit(status);
    case EndCause::unresponsive:
      return "no answer to " + std::to_string(policy.failure_threshold) +
             " probes in a row; the supervisor ended it (TERM, then KILL after " +
             go_duration(policy.hang_grace) + ")";
    case EndCause::never_ready:
      return "no answer within " + go_duration(policy.startup_timeout) +
             " of its start; check that it listens on the socket that the supervisor probes";
    case EndCause::unhealthy:
      return "it did not answer as the contract asks, and --restart-on unhealthy ends it for that";
    case EndCause::stop_requested:
      return "the supervisor was asked to stop it";
    case EndCause::replaced:
      return "a planned restart replaced it";
    case EndCause::launch_failed:
      return "it could not be started";
  }
  return "";
}

std::string next_text(const std::optional<Duration>& restart_in) {
  if (!restart_in) return "no restart";
  return *restart_in == Duration{0} ? "restart at once" : "restart in " + human_duration(*restart_in);
}

}  // namespace

void Record::report(mock_kms::v1::EventKind kind, Level level, const std::string& text,
                    const log::Fields& details) {
  history_.add(kind, instance_, text, details);
  log::write(level, instance_ == 0 ? text : "instance " + std::to_string(instance_) + ": " + text, details);
}

void Record::launched(pid_t pid, Generation generation, bool active) {
  report(mock_kms::v1::LAUNCHED, Level::info,
         active ? "launched the plugin" : "launched a process to take over",
         {{"pid", pid}, {"start", generation}});
}

void Record::became_active() {
  ++active_processes_;
  since_ = std::chrono::system_clock::now();
}

/// Adds the result to `health` and reports what it changes.
void Record::probed(pid_t pid, Health& health, const ProbeResult& result, bool active, Time now) {
  const std::string fault = health.fault();
  const bool slow = health.slow();
  health.note(result, std::chrono::system_clock::now(), now);
  if (const auto* failure = std::get_if<ProbeFailure>(&result.outcome)) {
    log::debug("a probe got no answer", {{"cause", failure->cause}});
    return metrics_.unresponsive(instance_);
  }
  if (const auto* answer = std::get_if<ProbeAnswer>(&result.outcome)) {
    metrics_.answered(instance_, answer->latency);
    if (active && health.fault().empty()) {
      good_at_ = now;
      note_key(pid, health.key_id());
      metrics_.lease_renewed(instance_, now);
    }
  }
  if (health.fault() != fault && health.fault().empty())
    report(mock_kms::v1::HEALTHY, Level::info, "the plugin is healthy again", {{"pid", pid}});
  if (health.fault() != fault && !health.fault().empty())
    report(mock_kms::v1::UNHEALTHY, Level::warning, "the plugin answers, but " + health.fault(),
           {{"pid", pid}});
  if (health.slow() && !slow)
    report(mock_kms::v1::SLOW, Level::warning, "the plugin answers slowly",
           {{"pid", pid}, {"took", human_duration(health.latency())}});
}

/// Other processes must name a key twice in a row: the first answer of a process that takes over may be from
/// before it read the version that a rotation stored. Both answers need not be of one process: each may end
/// before its second one.
void Record::note_key(pid_t pid, const std::string& key_id) {
  const bool is_first = keys_.empty();
  if (!is_first && keys_.front() == key_id) {
    key_pid_ = pid;
    next_key_.clear();
    return;
  }
  const bool other_process = !is_first && pid != key_pid_;
  if (other_process && std::exchange(next_key_, key_id) != key_id) return;
  next_key_.clear();
  key_pid_ = pid;
  const bool back = std::erase(keys_, key_id) > 0;
  keys_.push_front(key_id);
  if (keys_.size() > kept_keys) keys_.pop_back();
  if (is_first) return;
  const std::string text =
      !back ? "the plugin names another key"
      : other_process
          ? "the plugin went back to an earlier key when it was restarted, against rule 15; "
            "start mock-kms-provider with --state-dir to keep a rotation"
          : "the plugin went back to an earlier key, against rule 15; rotate to one that was never "
            "current, such as by 'mock-kms-provider rotate --to VERSION'";
  report(mock_kms::v1::KEY_CHANGED, back ? Level::warning : Level::info, text,
         {{"pid", pid}, {"from", keys_.size() > 1 ? keys_[1] : ""}, {"to", key_id}});
}

void Record::ready(pid_t pid, Duration after, const std::string& handover, bool active, Time now) {
  report(mock_kms::v1::READY, Level::info, active ? "the plugin is ready" : "a process is ready to take over",
         {{"pid", pid}, {"after", human_duration(after)}, {"handover", handover}});
  if (active) outage_over(pid, now);
}

void Record::ending(pid_t pid, EndCause cause, std::optional<Time> last_good_answer, bool active) {
  report(mock_kms::v1::TERMINATING, Level::error, "ending the plugin",
         {{"pid", pid}, {"cause", cause_text(cause, {}, policy_)}});
  if (active && last_good_answer) outage_began(pid, *last_good_answer, cause_text(cause, {}, policy_));
}

void Record::promoted(pid_t pid, bool ready, Time now) {
  became_active();
  report(mock_kms::v1::TAKEN_OVER, Level::info, "the waiting process takes over", {{"pid", pid}});
  if (ready) outage_over(pid, now);
}

std::string Record::cause_of(const ReportEnd& end, const ProcessEnd& process, bool out_of_memory) const {
  if (end.cause == EndCause::launch_failed) return process.launch_error;
  const bool foreign_kill = end.cause == EndCause::exited && process.status->signaled() &&
                            process.status->value() == SIGKILL && !process.killed_by_supervisor;
  return foreign_kill ? cause_of_kill(out_of_memory, oom_kills_.file())
                      : cause_text(end.cause, process.status, policy_);
}

void Record::ended(const ReportEnd& end, const ProcessEnd& process, bool active, Time now) {
  const bool out_of_memory = process.status && process.status->signaled() &&
                             process.status->value() == SIGKILL && !process.killed_by_supervisor &&
                             oom_kills_.claim();
  mock_kms::v1::Exit exit;
  *exit.mutable_at() = to_timestamp(std::chrono::system_clock::now());
  exit.set_pid(static_cast<std::uint32_t>(process.pid));
  exit.set_status(process.status ? process.status->text() : "was not started");
  exit.set_cause(cause_of(end, process, out_of_memory));
  *exit.mutable_lived() = to_proto(end.lived);
  for (const std::string& line : process.last_lines) exit.add_last_lines(line);
  exit.set_injected(was_injected(end.cause, process.last_lines));
  exit.set_asked_for(was_requested(end.cause));
  const std::string cause = exit.cause() + (exit.injected() ? "; mock-kms-provider did it on purpose" : "");
  if (active && process.answered && end.cause != EndCause::stop_requested)
    outage_began(process.pid, now, cause);
  if (end.restart_in) next_start_ = std::chrono::system_clock::now() + *end.restart_in;
  report(mock_kms::v1::ENDED, was_requested(end.cause) ? Level::info : Level::error, "the plugin ended",
         {{"pid", exit.pid()},
          {"status", exit.status()},
          {"cause", cause},
          {"lived", human_duration(end.lived)},
          {"next", next_text(end.restart_in)}});
  metrics_.ended(instance_, end.cause, out_of_memory);
  if (last_outage_ && last_outage_->pid == process.pid)
    *exit.mutable_outage() = to_proto(last_outage_->duration);
  exits_.push_front(std::move(exit));
  if (exits_.size() > kept_exits) exits_.pop_back();
}

void Record::not_restarted(const std::string& problem) {
  report(mock_kms::v1::NOT_RESTARTED, Level::warning, "nothing was restarted: " + problem, {});
}

void Record::not_started(const std::string& problem) {
  report(mock_kms::v1::NOT_STARTED, Level::warning, "nothing was started: " + problem, {});
}

/// An outage lasts until a process is ready again, whatever happens in between.
void Record::outage_began(pid_t pid, Time since, const std::string& cause) {
  if (!outage_) outage_ = Outage{pid, since, cause};
}

void Record::outage_over(pid_t answering, Time now) {
  if (!outage_) return;
  mock_kms::v1::Exit* exit = exit_of(outage_->pid);
  last_outage_ = PastOutage{outage_->pid, now - outage_->began};
  if (exit != nullptr) *exit->mutable_outage() = to_proto(last_outage_->duration);
  const std::string cause = std::exchange(outage_, std::nullopt)->cause;
  metrics_.outage(instance_, last_outage_->duration);
  report(mock_kms::v1::OUTAGE_OVER, Level::info, "calls are answered again",
         {{"pid", answering},
          {"outage", human_duration(last_outage_->duration)},
          {"outage-of", last_outage_->pid},
          {"cause", cause}});
}

mock_kms::v1::Exit* Record::exit_of(pid_t pid) {
  for (auto& exit : exits_) {
    if (static_cast<pid_t>(exit.pid()) == pid) return &exit;
  }
  return nullptr;
}

void Record::entered(const State& state) {
  const mock_kms::v1::State next = state_of(state);
  if (next == state_) return;
  if (next == mock_kms::v1::PAUSED) outage_.reset();
  state_ = next;
  since_ = std::chrono::system_clock::now();
}

std::string Record::reason(const std::optional<Running>& running, const std::string& unreachable) const {
  const bool good = !running || running->health->good();
  switch (state_) {
    case mock_kms::v1::STARTING:
      if (!good && !exits_.empty() && !exits_.front().asked_for())
        return running->health->reason() + "; the process before it " + exits_.front().status();
      [[fallthrough]];
    case mock_kms::v1::SERVING:
      return good ? unreachable : running->health->reason();
    case mock_kms::v1::ENDING:
      return "the supervisor is ending the plugin" + (good ? "" : ": " + running->health->reason());
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
      return paused_by_.empty() ? "the supervisor was asked to stop" : "being paused by " + paused_by_;
  }
}

void Record::fill(mock_kms::v1::SupervisorStatus& status, const std::optional<Running>& running,
                  const std::string& unreachable, Time now) const {
  *status.mutable_at() = to_timestamp(std::chrono::system_clock::now());
  status.set_state(state_);
  *status.mutable_since() = to_timestamp(since_);
  status.set_ready(state_ == mock_kms::v1::SERVING);
  status.set_healthy(status.ready() && running && running->health->good() && unreachable.empty());
  status.set_reason(reason(running, unreachable));
  status.set_restarts(active_processes_ == 0 ? 0 : active_processes_ - 1);
  if (next_start_ && state_ == mock_kms::v1::BACKING_OFF)
    *status.mutable_next_start_at() = to_timestamp(*next_start_);
  if (state_ == mock_kms::v1::PAUSED) status.set_paused_by(paused_by_);
  if (running) {
    status.set_pid(static_cast<std::uint32_t>(running->pid));
    *status.mutable_started_at() = to_timestamp(running->started);
    running->health->fill(status);
  }
  if (good_at_)
    *status.mutable_lease_left() = to_proto(std::max<Duration>(write_lease - (now - *good_at_), Duration{0}));
  for (const auto& exit : exits_) *status.add_exits() = exit;
}

}  // namespace kms::supervisor
