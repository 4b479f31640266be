// One call of Lifecycle::handle(): the event's effect on the active process (lifecycle_active.cc) and on
// those beside it (lifecycle_succession.cc). Included by these and lifecycle.cc only.
#pragma once

#include <algorithm>
#include <concepts>

#include "supervisor/lifecycle/lifecycle.h"

namespace kms::supervisor {

/// While a plugin starts it is asked more often, so that its readiness is seen soon.
inline constexpr Duration starting_probe_interval = std::chrono::milliseconds(10);

inline void probe_ended(ProbeSchedule& probe, Duration interval, Time now) {
  probe.under_way = false;
  probe.next = std::max(now, probe.last_start + interval);
}

template <class T, class... Alternatives>
concept OneOf = (std::same_as<T, Alternatives> || ...);

struct Lifecycle::Transition {
  Lifecycle& self;
  Time now;
  Actions actions;

  // Steps.
  void enter(State state) { self.state_ = state; }
  void launch();
  void start_probe_if_due(Generation generation, ProbeSchedule& probe);
  void end(Time launched, bool was_ready, EndCause cause);
  void kill_if_due(Generation generation, Time kill_at, bool& killed);
  void restart(Time launched, bool was_ready, EndCause cause);
  void stop(Time launched, int signal, bool pause);
  void finish_if_all_gone();
  void restart_done(const std::string& problem);
  void give_up_restart();
  [[nodiscard]] bool too_many_deaths();

  // The active process.
  void on(BackingOff state, const TimePassed&);
  void on(Starting state, const TimePassed&);
  void on(Serving state, const TimePassed&);
  void on(Ending state, const TimePassed&);
  void on(Stopping state, const TimePassed&);
  void on(Starting state, const Answered& event);
  void on(Serving state, const Answered& event);
  void on(Starting state, const Unresponsive&);
  void on(Serving state, const Unresponsive&);
  void on(const Starting& state, const Exited&);
  void on(const Serving& state, const Exited&);
  void on(const Ending& state, const Exited&);
  void on(Stopping state, const Exited&);
  void on(const Starting& state, const LaunchFailed& event);
  void on(const BackingOff&, const StopRequested&) { stop_without_process(false); }
  void on(const Starting& state, const StopRequested& event) { stop(state.launched, event.signal, false); }
  void on(const Serving& state, const StopRequested& event) { stop(state.launched, event.signal, false); }
  void on(const Ending& state, const StopRequested&) { stop_ending(state, false); }
  void on(Stopping state, const StopRequested&);
  void on(const Paused&, const StopRequested&) { stop_without_process(false); }
  void on(const BackingOff&, const PauseRequested&) { stop_without_process(true); }
  void on(const Starting& state, const PauseRequested&);
  void on(const Serving& state, const PauseRequested&);
  void on(const Ending& state, const PauseRequested&) { stop_ending(state, true); }
  void on(const Paused&, const ResumeRequested&) { launch(); }
  void on(const BackingOff&, const RestartRequested&);
  void on(const Starting& state, const RestartRequested&) {
    restart_on_request(state.launched, false, state.silent);
  }
  void on(const Serving& state, const RestartRequested&) {
    restart_on_request(state.launched, true, state.silent);
  }
  void on(const Ending&, const RestartRequested&);
  void on(const Stopping&, const RestartRequested&) { restart_done("the plugin is being stopped"); }
  void on(const Paused&, const RestartRequested&) { restart_done("the plugin is paused; start it instead"); }
  void on(const Stopped&, const RestartRequested&) { restart_done("the supervisor is ending"); }

  // What changes nothing, listed so that a new state or event does not compile until it is thought of: late
  // news of a process that is being ended, and news of one where there is none.
  void on(const OneOf<BackingOff, Ending, Stopping, Paused, Stopped> auto&, const Answered&) {}
  void on(const OneOf<BackingOff, Ending, Stopping, Paused, Stopped> auto&, const Unresponsive&) {}
  void on(const OneOf<BackingOff, Paused, Stopped> auto&, const Exited&) {}
  void on(const OneOf<BackingOff, Serving, Ending, Stopping, Paused, Stopped> auto&, const LaunchFailed&) {}
  void on(const OneOf<Paused, Stopped> auto&, const TimePassed&) {}
  void on(const Stopped&, const StopRequested&) {}
  void on(const OneOf<Stopping, Paused, Stopped> auto&, const PauseRequested&) {}
  void on(const OneOf<BackingOff, Starting, Serving, Ending, Stopping, Stopped> auto&,
          const ResumeRequested&) {}

  void stop_without_process(bool pause);
  void stop_ending(const Ending& state, bool pause);
  void restart_on_request(Time launched, bool was_ready, unsigned silent);
  [[nodiscard]] Duration grace_of_replaced(unsigned silent) const;

  // The processes beside it.
  void launch_successor();
  void promote(Duration refill_wait);
  void drain_active(Time launched, EndCause cause, int signal, Duration grace);
  void drain_successor(EndCause cause, int signal);
  void successor_failed(const std::string& how, Time launched, bool was_ready);
  void on_successor(const TimePassed&);
  void on_successor(const Answered& event);
  void on_successor(const Unresponsive&);
  void on_successor(const Exited&);
  void on_successor(const LaunchFailed& event);
  void on_draining(Draining& draining, const Exited&);
  void on_draining(Draining&, const OneOf<Answered, Unresponsive, LaunchFailed> auto&) {}
  void beside_active(const TimePassed&);
};

}  // namespace kms::supervisor
