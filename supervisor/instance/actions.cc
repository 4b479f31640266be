// What an Instance does when its Lifecycle says so.
#include <algorithm>
#include <asio/post.hpp>
#include <csignal>

#include "common/text/protobuf.h"
#include "supervisor/instance/instance.h"

namespace kms::supervisor {
namespace {

std::string next_text(const std::optional<Duration>& restart_in) {
  if (!restart_in) return "no restart";
  return *restart_in == Duration{0} ? "restart at once" : "restart in " + human_duration(*restart_in);
}

bool was_asked_for(EndCause cause) {
  return cause == EndCause::stop_requested || cause == EndCause::replaced;
}

/// What mock-kms-provider says before a fault that it was told to show ends or freezes it
/// (provider/faults/effects.cc).
bool was_injected(EndCause cause, const std::vector<std::string>& last_lines) {
  const char* word = cause == EndCause::exited         ? "a fault ends the process"
                     : cause == EndCause::unresponsive ? "a fault freezes the process"
                                                       : nullptr;
  return word != nullptr && std::any_of(last_lines.begin(), last_lines.end(), [word](const auto& line) {
           return line.find(word) != std::string::npos;
         });
}

}  // namespace

void Instance::act(const Launch& action) {
  const bool active = action.generation == lifecycle_.generation();
  if (active) {
    active_ = action.generation;
    record_.active_process_changed(std::chrono::system_clock::now());
    handover_.next_process();
    own_socket_.reset();
  }
  try {
    if (!handover_.hand_down()) {
      listener_.reset();
      remove_stale_socket(config_.socket);  // many a plugin only binds, and what was killed left its path
    } else if (!listener_ || !listener_->in_place()) {
      bind_socket();
    }
    launched_ = action.generation;
    Child::Plan plan{config_.plugin,
                     config_.socket,
                     listener_ ? &*listener_ : nullptr,
                     handover_.private_probes(),
                     handover_.only_at_endpoint(),
                     config_.slow_after};
    auto process = std::make_unique<Child>(
        context_.loop, context_.calls, action.generation, std::move(plan),
        [this, generation = action.generation](std::string line) {
          on_line(child(generation)->pid(), std::move(line));
        },
        // A call that was given up may end when this instance is gone already, but not the loop.
        [this, &loop = context_.loop](ProbeResult result) {
          asio::post(loop, [this, result = std::move(result)] { on_probe(result); });
        });
    tell(mock_kms::v1::LAUNCHED, log::Level::info,
         active ? "launched the plugin" : "launched a process to take over",
         {{"pid", process->pid()}, {"start", action.generation}});
    children_.emplace(action.generation, std::move(process));
  } catch (const Error& error) {
    launch_failure_ = error.what();
    dispatch(LaunchFailed{action.generation, error.what()});
  }
}

void Instance::act(const Activate& action) {
  if (Child* process = child(action.generation)) process->activate();
}

void Instance::act(const SendSignal& action) {
  if (Child* process = child(action.generation)) process->send_signal(action.signal);
}

void Instance::act(const StartProbe& action) {
  Child* process = child(action.generation);
  if (process == nullptr) return;
  if (action.generation == active_ && clients_wait()) {
    // It may answer over the connection that it has and accept no other.
    process->probe_anew(config_.policy.probe_timeout);
    return;
  }
  const unsigned every = config_.deep_probe_every;
  const bool deep = every > 0 && process->health().answered() && process->count_probe() % every == 0;
  process->probe(config_.policy.probe_timeout, deep);
}

void Instance::act(const ReportReady& action) {
  Child* process = child(action.generation);
  process->health().note_ready(action.after);
  const bool active = action.generation == lifecycle_.generation();
  tell(mock_kms::v1::READY, log::Level::info,
       active ? "the plugin is ready" : "a process is ready to take over",
       {{"pid", process->pid()}, {"after", human_duration(action.after)}, {"handover", handover_.text()}});
  if (active) outage_over();
}

void Instance::act(const ReportUnresponsive& action) {
  const Child* process = child(action.generation);
  tell(mock_kms::v1::GIVEN_UP, log::Level::error, "ending the plugin",
       {{"pid", process->pid()}, {"cause", cause_text(action.cause, {}, config_.policy)}});
  const auto good_at = process->health().good_at();
  if (action.generation == active_ && good_at) record_.outage_began(process->pid(), *good_at);
}

void Instance::act(const ReportPromoted& action) {
  active_ = action.generation;
  record_.active_process_changed(std::chrono::system_clock::now());
  tell(mock_kms::v1::TAKEN_OVER, log::Level::info, "the waiting process takes over",
       {{"pid", child(action.generation)->pid()}});
  if (ready()) outage_over();
}

void Instance::outage_over() {
  const auto outage = record_.outage_over(std::chrono::steady_clock::now());
  if (!outage) return;
  context_.metrics.outage(number_, outage->duration);
  tell(mock_kms::v1::OUTAGE_OVER, log::Level::info, "calls are answered again",
       {{"outage", human_duration(outage->duration)}, {"of-pid", outage->pid}, {"cause", outage->cause}});
}

std::string Instance::cause_of_end(const ReportEnd& action, const Child* gone) {
  if (action.cause == EndCause::launch_failed) return launch_failure_;
  const bool foreign_kill = action.cause == EndCause::exited && last_status_->signaled() &&
                            last_status_->value() == SIGKILL && !gone->killed();
  if (foreign_kill) return cause_of_kill(out_of_memory_, context_.oom_kills.file());
  return cause_text(action.cause, last_status_, config_.policy);
}

void Instance::act(const ReportEnd& action) {
  const Child* gone = child(action.generation);
  mock_kms::v1::Exit end;
  *end.mutable_at() = to_timestamp(std::chrono::system_clock::now());
  end.set_pid(gone != nullptr ? static_cast<std::uint32_t>(gone->pid()) : 0);
  end.set_status(gone != nullptr ? last_status_->text() : "was not started");
  end.set_cause(cause_of_end(action, gone));
  *end.mutable_lived() = to_proto(action.lived);
  if (gone != nullptr) {
    for (const std::string& line : gone->last_lines()) end.add_last_lines(line);
    end.set_injected(was_injected(action.cause, gone->last_lines()));
  }
  end.set_asked_for(was_asked_for(action.cause));
  if (action.generation == active_ && gone != nullptr && gone->health().answered() &&
      action.cause != EndCause::stop_requested)
    record_.outage_began(gone->pid(), std::chrono::steady_clock::now());
  if (action.restart_in) record_.waiting_until(std::chrono::system_clock::now() + *action.restart_in);
  tell(mock_kms::v1::ENDED, was_asked_for(action.cause) ? log::Level::info : log::Level::error,
       "the plugin ended",
       {{"pid", end.pid()},
        {"status", end.status()},
        {"cause", end.cause()},
        {"lived", human_duration(action.lived)},
        {"next", next_text(action.restart_in)}});
  context_.metrics.ended(number_, action.cause, out_of_memory_);
  record_.ended(std::move(end));
}

void Instance::act(const ReportRestart& action) {
  if (!action.problem.empty()) {
    tell(mock_kms::v1::NOT_RESTARTED, log::Level::warning, "nothing was restarted: " + action.problem, {});
  }
  for (const ControlHandler::Done& done : std::exchange(restarts_, {}))
    done(action.problem.empty() ? Outcome<>() : Error(action.problem));
}

void Instance::act(const Finish& action) {
  ended_well_ = action.clean;
  for (const ControlHandler::Done& done : std::exchange(restarts_, {}))
    done(Error("the plugin has ended for good"));
  for (const ControlHandler::Done& done : std::exchange(pauses_, {})) done({});
}

}  // namespace kms::supervisor
