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

Deadline due(const ProbeSchedule& probe) { return probe.under_way ? Deadline() : probe.next; }

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
      back_off_(policy.back_off, jitter_seed),
      successor_back_off_(policy.back_off, ~jitter_seed) {}

Actions Lifecycle::handle(const Event& event, Time now) {
  Transition transition{*this, now, {}};
  std::visit(
      [&]<class E>(const E& e) {
        if constexpr (AboutOneProcess<E>) {
          if (successor_ && e.generation == successor_->generation) return transition.on_successor(e);
          const auto draining = std::find_if(draining_.begin(), draining_.end(),
                                             [&](const Draining& r) { return r.generation == e.generation; });
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
    next =
        earlier(next, successor_->ready ? due(successor_->process.probe)
                                        : due(successor_->process, policy_.startup_timeout, restart_asked_));
  }
  if (wants_successor()) next = earlier(next, successor_at_);
  for (const Draining& draining : draining_) {
    if (!draining.killed) next = earlier(next, draining.kill_at);
  }
  return next;
}

}  // namespace kms::supervisor
