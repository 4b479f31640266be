// Transition is one call of Lifecycle::handle(): the state x event table, and the steps that it uses.
//
// lifecycle.cc holds the active process, succession.cc the processes beside it. Nothing else includes this.
//
//                     BackingOff  Starting     Serving      Ending    Stopping  Paused   Stopped
//   TimePassed        launch      probe, end   probe        kill      kill      -        -
//   Answered          -           Serving      count        -         -         -        -
//   ProbeFailed      -           count, end   count, end   -         -         -        -
//   Exited            -           restart      restart      restart   finish    -        -
//   LaunchFailed      -           restart      -            -         -         -        -
//   StopRequested     stop        stop         stop         stop      kill      stop     -
//   PauseRequested    pause       pause        pause        pause     -         -        -
//   ResumeRequested   -           -            -            -         -         launch   -
//   RestartRequested  launch      replace      replace      later     refuse    refuse   refuse
#pragma once

#include <algorithm>
#include <concepts>
#include <csignal>

#include "supervisor/lifecycle/lifecycle.h"

namespace kms::supervisor {

/// A starting plugin is probed more often, so that its readiness is seen soon.
inline constexpr Duration starting_probe_interval = std::chrono::milliseconds(10);

inline void probe_ended(ProbeSchedule& probe, Duration interval, Time now) {
  probe.in_progress = false;
  probe.next = std::max(now, probe.last_start + interval);
}

template <class T, class... Alternatives>
concept OneOf = (std::same_as<T, Alternatives> || ...);

struct Lifecycle::Transition {
  Lifecycle& self;
  Time now;
  Actions actions;

  // The table. The "-" cells are written out too: a new state or event does not compile without its row.
  void on(BackingOff state, const TimePassed&);
  void on(Starting state, const TimePassed&);
  void on(Serving state, const TimePassed&);
  void on(Ending state, const TimePassed&);
  void on(Stopping state, const TimePassed&);
  void on(const OneOf<Paused, Stopped> auto&, const TimePassed&) {}

  void on(Starting state, const Answered& event);
  void on(Serving state, const Answered& event);
  void on(const OneOf<BackingOff, Ending, Stopping, Paused, Stopped> auto&, const Answered&) {}

  void on(Starting state, const ProbeFailed&);
  void on(Serving state, const ProbeFailed&);
  void on(const OneOf<BackingOff, Ending, Stopping, Paused, Stopped> auto&, const ProbeFailed&) {}

  void on(const Starting& state, const Exited&) { restart(state.launched, std::nullopt, EndCause::exited); }
  void on(const Serving& state, const Exited&) { restart(state.launched, state.since, EndCause::exited); }
  void on(const Ending& state, const Exited&) { restart(state.launched, state.serving_since, state.cause); }
  void on(Stopping state, const Exited&);
  void on(const OneOf<BackingOff, Paused, Stopped> auto&, const Exited&) {}

  void on(const Starting& state, const LaunchFailed& event);
  void on(const OneOf<BackingOff, Serving, Ending, Stopping, Paused, Stopped> auto&, const LaunchFailed&) {}

  void on(const OneOf<BackingOff, Paused> auto&, const StopRequested&) { stop_without_process(false); }
  void on(const OneOf<Starting, Serving> auto& state, const StopRequested& event) {
    stop(state.launched, event.signal, false);
  }
  void on(const Ending& state, const StopRequested&) { stop_ending(state, false); }
  void on(Stopping state, const StopRequested&);
  void on(const Stopped&, const StopRequested&) {}

  void on(const BackingOff&, const PauseRequested&) { stop_without_process(true); }
  void on(const OneOf<Starting, Serving> auto& state, const PauseRequested&) {
    stop(state.launched, SIGTERM, true);
  }
  void on(const Ending& state, const PauseRequested&) { stop_ending(state, true); }
  void on(const OneOf<Stopping, Paused, Stopped> auto&, const PauseRequested&) {}

  void on(const Paused&, const ResumeRequested&) { launch(); }
  void on(const OneOf<BackingOff, Starting, Serving, Ending, Stopping, Stopped> auto&,
          const ResumeRequested&) {}

  void on(const BackingOff&, const RestartRequested&);
  void on(const Starting& state, const RestartRequested&) {
    replace(state.launched, std::nullopt, state.unresponsive);
  }
  void on(Serving state, const RestartRequested&);
  void on(const Ending&, const RestartRequested&);
  void on(const Stopping&, const RestartRequested&) { restart_done("the plugin is being stopped"); }
  void on(const Paused&, const RestartRequested&) { restart_done("the plugin is paused; start it instead"); }
  void on(const Stopped&, const RestartRequested&) { restart_done("the supervisor is ending"); }

  // Steps of the active process.
  void enter(State state) { self.state_ = state; }
  void launch();
  void start_probe_if_due(Generation generation, ProbeSchedule& probe);
  void end(Time launched, std::optional<Time> serving_since, EndCause cause);
  void kill_if_due(Generation generation, Time kill_at, bool& killed);
  void restart(Time launched, std::optional<Time> serving_since, EndCause cause);
  [[nodiscard]] std::optional<Duration> length_since(std::optional<Time> start) const;
  [[nodiscard]] bool count_death();
  void stop(Time launched, int signal, bool pause);
  void stop_without_process(bool pause);
  void stop_ending(const Ending& state, bool pause);
  void finish_if_all_gone();

  // Steps of a planned restart.
  void replace(Time launched, std::optional<Time> serving_since, unsigned unresponsive);
  void restart_done(const std::string& problem);
  void give_up_restart();

  // The processes beside the active one.
  void launch_successor();
  void promote(Duration refill_wait);
  void drain_active(Time launched, EndCause cause, int signal, Duration grace);
  void drain_successor(EndCause cause, int signal);
  void successor_failed(const std::string& how, std::optional<Time> ready_since);
  [[nodiscard]] Duration grace_of_replaced(unsigned unresponsive) const;
  void on_successor(const TimePassed&);
  void on_successor(const Answered& event);
  void on_successor(const ProbeFailed&);
  void on_successor(const Exited&);
  void on_successor(const LaunchFailed& event);
  void on_draining(Draining& process, const Exited&);
  void on_draining(Draining&, const OneOf<Answered, ProbeFailed, LaunchFailed> auto&) {}
  void beside_active(const TimePassed&);
};

}  // namespace kms::supervisor
