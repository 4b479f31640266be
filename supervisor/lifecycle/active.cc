#include <csignal>

#include "supervisor/lifecycle/transition.h"

namespace kms::supervisor {

void Lifecycle::Transition::launch() {
  self.active_ = ++self.last_;
  self.restart_again_ = false;  // this one is launched after all that was asked for
  enter(Starting{now, {false, now, now}});
  actions.emplace_back(Launch{self.active_});
  actions.emplace_back(Activate{self.active_});
}

void Lifecycle::Transition::start_probe_if_due(Generation generation, ProbeSchedule& probe) {
  if (probe.under_way || now < probe.next) return;
  probe.under_way = true;
  probe.last_start = now;
  actions.emplace_back(StartProbe{generation, self.policy_.probe_timeout});
}

/// Where a successor is ready nothing is waited for. Else, and where the supervisor is about to give up, TERM
/// comes first, and KILL follows at kill_at.
void Lifecycle::Transition::end(Time launched, bool was_ready, EndCause cause) {
  actions.emplace_back(ReportUnresponsive{self.active_, cause});
  if (self.successor_ && self.successor_->ready && !too_many_deaths()) {
    drain_active(launched, cause, SIGKILL, Duration{0});
    promote(self.back_off_.next(was_ready, now - launched));
    return;
  }
  actions.emplace_back(SendSignal{self.active_, SIGTERM});
  enter(Ending{launched, was_ready, cause, now + self.policy_.hang_grace});
}

void Lifecycle::Transition::kill_if_due(Generation generation, Time kill_at, bool& killed) {
  if (killed || now < kill_at) return;
  killed = true;
  actions.emplace_back(SendSignal{generation, SIGKILL});
}

/// The active process is gone: its successor takes over, or a new one follows, at once or after a back-off.
/// The back-off of a death that a successor makes good holds up the start of the next successor instead.
void Lifecycle::Transition::restart(Time launched, bool was_ready, EndCause cause) {
  if (cause != EndCause::replaced && too_many_deaths()) {
    actions.emplace_back(ReportEnd{self.active_, cause, now - launched, std::nullopt});
    enter(Stopping{launched, now, false, true, true});
    drain_successor(EndCause::stop_requested, SIGTERM);
    finish_if_all_gone();
    return;
  }
  const Duration wait =
      cause == EndCause::replaced ? Duration{0} : self.back_off_.next(was_ready, now - launched);
  if (self.successor_) {
    actions.emplace_back(ReportEnd{self.active_, cause, now - launched, Duration{0}});
    promote(wait);
    return;
  }
  actions.emplace_back(ReportEnd{self.active_, cause, now - launched, wait});
  enter(BackingOff{now + wait});
  if (wait == Duration{0}) launch();
}

/// Counts this death, and says whether it is one too many within the window.
bool Lifecycle::Transition::too_many_deaths() {
  if (self.policy_.max_restarts == 0) return false;
  std::erase_if(self.deaths_, [this](Time death) { return death <= now - self.policy_.max_restarts_window; });
  self.deaths_.push_back(now);
  return self.deaths_.size() > self.policy_.max_restarts;
}

/// Forwards the signal that asked for the stop.
void Lifecycle::Transition::stop(Time launched, int signal, bool pause) {
  actions.emplace_back(SendSignal{self.active_, signal});
  enter(Stopping{launched, now + self.policy_.stop_grace, pause});
  drain_successor(EndCause::stop_requested, signal);
  give_up_restart();
}

void Lifecycle::Transition::stop_ending(const Ending& state, bool pause) {
  enter(Stopping{state.launched, state.kill_at, pause, false, state.killed});
  drain_successor(EndCause::stop_requested, SIGTERM);
  give_up_restart();
}

void Lifecycle::Transition::stop_without_process(bool pause) {
  enter(Stopping{now, now, pause, true});
  drain_successor(EndCause::stop_requested, SIGTERM);
  give_up_restart();
  finish_if_all_gone();
}

void Lifecycle::Transition::finish_if_all_gone() {
  const auto* stopping = std::get_if<Stopping>(&self.state_);
  if (stopping == nullptr || !stopping->gone || !self.draining_.empty()) return;
  const bool clean = !stopping->killed;
  if (stopping->pause) {
    enter(Paused{});
  } else {
    enter(Stopped{});
    actions.emplace_back(Finish{clean});
  }
}

// Time has passed.

void Lifecycle::Transition::on(BackingOff state, const TimePassed&) {
  if (now >= state.until) launch();
}

void Lifecycle::Transition::on(Starting state, const TimePassed&) {
  const bool may_go_on = state.answered && !self.policy_.restart_on_unhealthy;
  if (!may_go_on && now >= state.launched + self.policy_.startup_timeout) {
    end(state.launched, false, state.answered ? EndCause::unhealthy : EndCause::never_ready);
    return;
  }
  start_probe_if_due(self.active_, state.probe);
  enter(state);
}

void Lifecycle::Transition::on(Serving state, const TimePassed&) {
  start_probe_if_due(self.active_, state.probe);
  enter(state);
}

void Lifecycle::Transition::on(Ending state, const TimePassed&) {
  kill_if_due(self.active_, state.kill_at, state.killed);
  enter(state);
}

void Lifecycle::Transition::on(Stopping state, const TimePassed&) {
  if (!state.gone) kill_if_due(self.active_, state.kill_at, state.killed);
  enter(state);
}

// A probe was answered: the plugin is alive, whatever it said.

void Lifecycle::Transition::on(Starting state, const Answered& event) {
  probe_ended(state.probe, event.good ? self.policy_.probe_interval : starting_probe_interval, now);
  state.answered = true;
  state.silent = 0;
  enter(state);
  if (!event.good) return;
  actions.emplace_back(ReportReady{self.active_, now - state.launched});
  enter(Serving{state.launched, state.probe});
  if (self.restart_asked_ && !self.successor_) restart_done("");
}

void Lifecycle::Transition::on(Serving state, const Answered& event) {
  probe_ended(state.probe, self.policy_.probe_interval, now);
  state.silent = 0;
  state.unhealthy = event.good ? 0 : state.unhealthy + 1;
  enter(state);
  if (self.policy_.restart_on_unhealthy && state.unhealthy >= self.policy_.failure_threshold)
    end(state.launched, true, EndCause::unhealthy);
}

// A probe was not answered. Before the first answer ever only the start-up time-out counts.

void Lifecycle::Transition::on(Starting state, const Unresponsive&) {
  probe_ended(state.probe, starting_probe_interval, now);
  if (state.answered) ++state.silent;
  enter(state);
  if (state.silent >= self.policy_.failure_threshold) end(state.launched, false, EndCause::unresponsive);
}

void Lifecycle::Transition::on(Serving state, const Unresponsive&) {
  probe_ended(state.probe, self.policy_.probe_interval, now);
  ++state.silent;
  enter(state);
  if (state.silent >= self.policy_.failure_threshold) end(state.launched, true, EndCause::unresponsive);
}

// The process is gone.

void Lifecycle::Transition::on(const Starting& state, const Exited&) {
  restart(state.launched, false, EndCause::exited);
}

void Lifecycle::Transition::on(const Serving& state, const Exited&) {
  restart(state.launched, true, EndCause::exited);
}

void Lifecycle::Transition::on(const Ending& state, const Exited&) {
  restart(state.launched, state.was_ready, state.cause);
}

void Lifecycle::Transition::on(Stopping state, const Exited&) {
  actions.emplace_back(ReportEnd{self.active_, EndCause::stop_requested, now - state.launched, std::nullopt});
  state.gone = true;
  enter(state);
  finish_if_all_gone();
}

/// There is no process: a command that never started once is a mistake to report, not to repeat.
void Lifecycle::Transition::on(const Starting& state, const LaunchFailed& event) {
  if (event.generation > 1) {
    restart(state.launched, false, EndCause::launch_failed);
    return;
  }
  actions.emplace_back(ReportEnd{self.active_, EndCause::launch_failed, now - state.launched, std::nullopt});
  enter(Stopped{});
  actions.emplace_back(Finish{false});
}

/// A second stop does not wait any longer, and turns a pause into the end.
void Lifecycle::Transition::on(Stopping state, const StopRequested&) {
  if (!state.pause) {
    if (!state.gone) kill_if_due(self.active_, now, state.killed);
    for (Draining& draining : self.draining_) kill_if_due(draining.generation, now, draining.killed);
  }
  state.pause = false;
  enter(state);
}

void Lifecycle::Transition::on(const Starting& state, const PauseRequested&) {
  stop(state.launched, SIGTERM, true);
}
void Lifecycle::Transition::on(const Serving& state, const PauseRequested&) {
  stop(state.launched, SIGTERM, true);
}

}  // namespace kms::supervisor
