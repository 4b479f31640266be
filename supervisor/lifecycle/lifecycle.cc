#include "supervisor/lifecycle/lifecycle.h"

#include "supervisor/lifecycle/transition.h"

namespace kms::supervisor {
namespace {

using Deadline = std::optional<Time>;

template <class... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};
template <class... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

Deadline earlier(Deadline a, Deadline b) { return a && b ? std::min(a, b) : a ? a : b; }

Deadline due(const ProbeSchedule& probe) { return probe.in_progress ? Deadline() : probe.next; }

Deadline due(const Starting& process, Duration startup_timeout, bool must_get_ready) {
  return process.answered && !must_get_ready
             ? due(process.probe)
             : earlier(due(process.probe), process.launched + startup_timeout);
}

template <class Event>
concept AboutOneProcess = requires(Event event) {
  event.generation;
};

}  // namespace

Lifecycle::Lifecycle(const Policy& policy, std::uint32_t jitter_seed)
    : policy_(policy),
      restart_delay_(policy.restart_delay, jitter_seed),
      successor_delay_(policy.restart_delay, ~jitter_seed) {}

Actions Lifecycle::handle(const Event& event, Time now) {
  Transition transition{*this, now, {}};
  std::visit(
      [&]<class E>(const E& e) {
        if constexpr (AboutOneProcess<E>) {
          if (successor_ && e.generation == successor_->generation) return transition.on_successor(e);
          const auto draining = std::find_if(draining_.begin(), draining_.end(),
                                             [&](const Draining& d) { return d.generation == e.generation; });
          if (draining != draining_.end()) return transition.on_draining(*draining, e);
          if (e.generation != active_) return;
        }
        // The state is copied, since its handler replaces it.
        std::visit([&](const auto& state) { transition.on(state, e); }, State(state_));
        if constexpr (std::is_same_v<E, TimePassed>) transition.beside_active(e);
      },
      event);
  return std::move(transition.actions);
}

Deadline Lifecycle::next_deadline() const {
  Deadline next = std::visit(
      Overloaded{
          [](const BackingOff& state) -> Deadline { return state.until; },
          [this](const Starting& state) {
            return due(state, policy_.startup_timeout, policy_.restart_on_unhealthy);
          },
          [](const Serving& state) { return due(state.probe); },
          [](const Ending& state) { return state.killed ? Deadline() : state.kill_at; },
          [](const Stopping& state) { return state.killed || state.gone ? Deadline() : state.kill_at; },
          [](const Paused&) { return Deadline(); },
          [](const Stopped&) { return Deadline(); },
      },
      state_);
  if (successor_) {
    next = earlier(next, successor_->ready_since
                             ? due(successor_->process.probe)
                             : due(successor_->process, policy_.startup_timeout, restart_requested_));
  }
  if (wants_successor()) next = earlier(next, successor_at_);
  for (const Draining& draining : draining_) {
    if (!draining.killed) next = earlier(next, draining.kill_at);
  }
  return next;
}

// Steps of the active process.

void Lifecycle::Transition::launch() {
  self.active_ = ++self.last_;
  self.restart_again_ = false;  // this process starts after all requests so far
  enter(Starting{now, {false, now, now}});
  actions.emplace_back(Launch{self.active_});
  actions.emplace_back(Activate{self.active_});
}

void Lifecycle::Transition::start_probe_if_due(Generation generation, ProbeSchedule& probe) {
  if (probe.in_progress || now < probe.next) return;
  probe.in_progress = true;
  probe.last_start = now;
  actions.emplace_back(StartProbe{generation, self.policy_.probe_timeout});
}

/// A ready successor takes over at once and the process is killed. Otherwise, and if the supervisor is about
/// to give up, TERM comes first and KILL follows at kill_at.
void Lifecycle::Transition::end(Time launched, std::optional<Time> serving_since, EndCause cause) {
  actions.emplace_back(ReportEnding{self.active_, cause});
  if (self.successor_ && self.successor_->ready_since && !count_death()) {
    drain_active(launched, cause, SIGKILL, Duration{0});
    promote(self.restart_delay_.next(length_since(serving_since)));
    return;
  }
  actions.emplace_back(SendSignal{self.active_, SIGTERM});
  enter(Ending{launched, serving_since, cause, now + self.policy_.hang_grace});
}

void Lifecycle::Transition::kill_if_due(Generation generation, Time kill_at, bool& killed) {
  if (killed || now < kill_at) return;
  killed = true;
  actions.emplace_back(SendSignal{generation, SIGKILL});
}

/// The active process is gone. Its successor takes over, or a new process follows, at once or after a delay.
/// If a successor takes over, the delay holds up the start of the next successor instead.
void Lifecycle::Transition::restart(Time launched, std::optional<Time> serving_since, EndCause cause) {
  if (cause != EndCause::replaced && count_death()) {
    actions.emplace_back(ReportEnd{self.active_, cause, now - launched, std::nullopt});
    enter(Stopping{launched, now, false, true, true});
    drain_successor(EndCause::stop_requested, SIGTERM);
    finish_if_all_gone();
    return;
  }
  const Duration wait =
      cause == EndCause::replaced ? Duration{0} : self.restart_delay_.next(length_since(serving_since));
  if (self.successor_) {
    actions.emplace_back(ReportEnd{self.active_, cause, now - launched, Duration{0}});
    promote(wait);
    return;
  }
  actions.emplace_back(ReportEnd{self.active_, cause, now - launched, wait});
  enter(BackingOff{now + wait});
  if (wait == Duration{0}) launch();
}

std::optional<Duration> Lifecycle::Transition::length_since(std::optional<Time> start) const {
  return start ? std::optional<Duration>(now - *start) : std::nullopt;
}

/// Counts this death. True if it is one too many within the window.
bool Lifecycle::Transition::count_death() {
  if (self.policy_.max_restarts == 0) return false;
  std::erase_if(self.deaths_, [this](Time death) { return death <= now - self.policy_.max_restarts_window; });
  self.deaths_.push_back(now);
  return self.deaths_.size() > self.policy_.max_restarts;
}

/// Forwards the signal that requested the stop.
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

void Lifecycle::Transition::on(BackingOff state, const TimePassed&) {
  if (now >= state.until) launch();
}

void Lifecycle::Transition::on(Starting state, const TimePassed&) {
  const bool may_go_on = state.answered && !self.policy_.restart_on_unhealthy;
  if (!may_go_on && now >= state.launched + self.policy_.startup_timeout) {
    end(state.launched, std::nullopt, state.answered ? EndCause::unhealthy : EndCause::never_ready);
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

// A plugin that answers is alive, whatever it answers.

void Lifecycle::Transition::on(Starting state, const Answered& event) {
  probe_ended(state.probe, event.good ? self.policy_.probe_interval : starting_probe_interval, now);
  state.answered = true;
  state.unresponsive = 0;
  enter(state);
  if (!event.good) return;
  actions.emplace_back(ReportReady{self.active_, now - state.launched});
  enter(Serving{state.launched, state.launched, state.probe});
  if (self.restart_requested_ && !self.successor_) restart_done("");
}

void Lifecycle::Transition::on(Serving state, const Answered& event) {
  probe_ended(state.probe, self.policy_.probe_interval, now);
  state.unresponsive = 0;
  state.unhealthy = event.good ? 0 : state.unhealthy + 1;
  enter(state);
  if (self.policy_.restart_on_unhealthy && state.unhealthy >= self.policy_.failure_threshold)
    end(state.launched, state.since, EndCause::unhealthy);
}

// Before the first answer only the start-up time-out counts, not unanswered probes.

void Lifecycle::Transition::on(Starting state, const ProbeFailed&) {
  probe_ended(state.probe, starting_probe_interval, now);
  if (state.answered) ++state.unresponsive;
  enter(state);
  if (state.unresponsive >= self.policy_.failure_threshold)
    end(state.launched, std::nullopt, EndCause::unresponsive);
}

void Lifecycle::Transition::on(Serving state, const ProbeFailed&) {
  probe_ended(state.probe, self.policy_.probe_interval, now);
  ++state.unresponsive;
  enter(state);
  if (state.unresponsive >= self.policy_.failure_threshold)
    end(state.launched, state.since, EndCause::unresponsive);
}

void Lifecycle::Transition::on(Stopping state, const Exited&) {
  actions.emplace_back(ReportEnd{self.active_, EndCause::stop_requested, now - state.launched, std::nullopt});
  state.gone = true;
  enter(state);
  finish_if_all_gone();
}

/// A command that cannot be started the first time is a mistake: the supervisor reports it and ends.
void Lifecycle::Transition::on(const Starting& state, const LaunchFailed& event) {
  if (event.generation > 1) {
    restart(state.launched, std::nullopt, EndCause::launch_failed);
    return;
  }
  actions.emplace_back(ReportEnd{self.active_, EndCause::launch_failed, now - state.launched, std::nullopt});
  enter(Stopped{});
  actions.emplace_back(Finish{false});
}

/// A second stop kills at once. A stop during a pause turns it into the end.
void Lifecycle::Transition::on(Stopping state, const StopRequested&) {
  if (!state.pause) {
    if (!state.gone) kill_if_due(self.active_, now, state.killed);
    for (Draining& draining : self.draining_) kill_if_due(draining.generation, now, draining.killed);
  }
  state.pause = false;
  enter(state);
}

}  // namespace kms::supervisor
