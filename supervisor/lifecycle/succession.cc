#include <utility>

#include "supervisor/lifecycle/transition.h"

namespace kms::supervisor {

namespace {

/// Clients reconnect after a take-over and need the machine, so the start of the next standby waits.
constexpr Duration refill_delay = std::chrono::milliseconds(100);

}  // namespace

/// A standby starts beside a serving process, once all draining ones have ended.
bool Lifecycle::wants_successor() const {
  return overlap_ && !successor_ && policy_.standby && draining_.empty() &&
         std::holds_alternative<Serving>(state_);
}

void Lifecycle::Transition::launch_successor() {
  const Generation generation = ++self.last_;
  self.successor_ = Successor{generation, Starting{now, {false, now, now}}};
  actions.emplace_back(Launch{generation});
}

/// The successor becomes the active process. The one before has ended or drains.
void Lifecycle::Transition::promote(Duration refill_wait) {
  const Successor next = *self.successor_;
  self.successor_.reset();
  self.successor_at_ = now + std::max(refill_delay, refill_wait);
  self.active_ = next.generation;
  actions.emplace_back(ReportPromoted{next.generation});
  actions.emplace_back(Activate{next.generation});
  if (!next.ready_since) {
    enter(next.process);
    return;
  }
  enter(Serving{next.process.launched, now, next.process.probe, next.process.unresponsive});
  if (self.restart_requested_) restart_done("");
}

void Lifecycle::Transition::drain_active(Time launched, EndCause cause, int signal, Duration grace) {
  actions.emplace_back(SendSignal{self.active_, signal});
  self.draining_.push_back({self.active_, launched, cause, now + grace, signal == SIGKILL});
}

/// The time from TERM to KILL of a replaced process. An unresponsive one has no calls to finish and may not
/// receive TERM (SIGSTOP).
Duration Lifecycle::Transition::grace_of_replaced(unsigned unresponsive) const {
  return unresponsive > 0 ? self.policy_.hang_grace : self.policy_.stop_grace;
}

void Lifecycle::Transition::drain_successor(EndCause cause, int signal) {
  if (!self.successor_) return;
  actions.emplace_back(SendSignal{self.successor_->generation, signal});
  self.draining_.push_back({self.successor_->generation, self.successor_->process.launched, cause,
                            now + self.policy_.stop_grace, signal == SIGKILL});
  self.successor_.reset();
}

/// The active process stays. A standby is tried again after a delay of its own.
void Lifecycle::Transition::successor_failed(const std::string& how, std::optional<Time> ready_since) {
  self.successor_at_ = now + self.successor_delay_.next(length_since(ready_since));
  if (self.restart_requested_) restart_done("the new process " + how + "; the old one stays");
}

// A planned restart. A request that arrives during a restart causes one more restart afterwards, because the
// new process may have started before the change that the request is about, such as another binary. All
// requests are answered together, and at most one new process is in progress.

void Lifecycle::Transition::on(const BackingOff&, const RestartRequested&) {
  self.restart_requested_ = true;
  launch();
}

/// A new process follows anyway. If it is a standby, it may have been launched too early for this request.
void Lifecycle::Transition::on(const Ending&, const RestartRequested&) {
  self.restart_requested_ = true;
  self.restart_again_ |= self.successor_.has_value();
}

/// The old process is probed once more at once: a rotation that ends with it is reported then, also if it
/// happened after the last probe.
void Lifecycle::Transition::on(Serving state, const RestartRequested&) {
  state.probe.next = now;
  enter(state);
  replace(state.launched, state.since, state.unresponsive);
}

void Lifecycle::Transition::replace(Time launched, std::optional<Time> serving_since, unsigned unresponsive) {
  if (std::exchange(self.restart_requested_, true)) {
    self.restart_again_ = true;
    return;
  }
  if (self.overlap_) {
    drain_successor(EndCause::replaced, SIGTERM);  // a standby may run an older binary
    launch_successor();
    return;
  }
  actions.emplace_back(SendSignal{self.active_, SIGTERM});
  enter(Ending{launched, serving_since, EndCause::replaced, now + grace_of_replaced(unresponsive)});
}

void Lifecycle::Transition::restart_done(const std::string& problem) {
  self.restart_requested_ = false;
  if (!std::exchange(self.restart_again_, false)) {
    actions.emplace_back(ReportRestart{problem});
    return;
  }
  std::visit([this](const auto& state) { on(state, RestartRequested{}); }, State(self.state_));
}

void Lifecycle::Transition::give_up_restart() {
  self.restart_again_ = false;
  if (self.restart_requested_) restart_done("the plugin is being stopped");
}

void Lifecycle::Transition::on_successor(const TimePassed&) {
  Starting& process = self.successor_->process;
  const bool may_go_on = self.successor_->ready_since || (process.answered && !self.restart_requested_);
  if (!may_go_on && now >= process.launched + self.policy_.startup_timeout) {
    actions.emplace_back(ReportEnding{self.successor_->generation, EndCause::never_ready});
    drain_successor(EndCause::never_ready, SIGKILL);
    successor_failed("did not get ready in time", std::nullopt);
    return;
  }
  start_probe_if_due(self.successor_->generation, process.probe);
}

void Lifecycle::Transition::on_successor(const Answered& event) {
  Starting& process = self.successor_->process;
  probe_ended(process.probe, event.good ? self.policy_.probe_interval : starting_probe_interval, now);
  process.answered = true;
  process.unresponsive = 0;
  if (!event.good || self.successor_->ready_since) return;
  self.successor_->ready_since = now;
  actions.emplace_back(ReportReady{self.successor_->generation, now - process.launched});
  if (!self.restart_requested_) return;
  if (const auto* starting = std::get_if<Starting>(&self.state_)) {
    drain_active(starting->launched, EndCause::replaced, SIGTERM, grace_of_replaced(starting->unresponsive));
  } else if (const auto* serving = std::get_if<Serving>(&self.state_)) {
    drain_active(serving->launched, EndCause::replaced, SIGTERM, grace_of_replaced(serving->unresponsive));
  } else {
    return;  // its end promotes the successor
  }
  promote(Duration{0});
}

void Lifecycle::Transition::on_successor(const ProbeFailed&) {
  Starting& process = self.successor_->process;
  probe_ended(process.probe, process.answered ? self.policy_.probe_interval : starting_probe_interval, now);
  if (!process.answered || ++process.unresponsive < self.policy_.failure_threshold) return;
  const std::optional<Time> ready_since = self.successor_->ready_since;
  actions.emplace_back(ReportEnding{self.successor_->generation, EndCause::unresponsive});
  drain_successor(EndCause::unresponsive, SIGKILL);
  successor_failed("became unresponsive", ready_since);
}

void Lifecycle::Transition::on_successor(const Exited& event) {
  const Successor gone = *self.successor_;
  self.successor_.reset();
  actions.emplace_back(
      ReportEnd{gone.generation, EndCause::exited, now - gone.process.launched, std::nullopt});
  successor_failed(event.status.text(), gone.ready_since);
}

void Lifecycle::Transition::on_successor(const LaunchFailed& event) {
  actions.emplace_back(ReportEnd{event.generation, EndCause::launch_failed, Duration{0}, std::nullopt});
  self.successor_.reset();
  successor_failed("was not started: " + event.cause, std::nullopt);
}

void Lifecycle::Transition::on_draining(Draining& draining, const Exited&) {
  actions.emplace_back(ReportEnd{draining.generation, draining.cause, now - draining.launched, std::nullopt});
  std::erase_if(self.draining_, [&](const Draining& r) { return r.generation == draining.generation; });
  finish_if_all_gone();
}

void Lifecycle::Transition::beside_active(const TimePassed& event) {
  for (Draining& draining : self.draining_)
    kill_if_due(draining.generation, draining.kill_at, draining.killed);
  if (self.successor_) {
    on_successor(event);
  } else if (self.wants_successor() && now >= self.successor_at_) {
    launch_successor();
  }
}

}  // namespace kms::supervisor
