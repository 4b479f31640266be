// A lifecycle under a clock that only the test moves, and the means to look at what it wants.
#pragma once

#include <csignal>
#include <vector>

#include "supervisor/lifecycle/lifecycle.h"

namespace kms::supervisor {

using namespace std::chrono_literals;

inline const auto killed_by_kill = process::ExitStatus::from_wait(SIGKILL);

/// A lifecycle under a clock that only the test moves.
class Bench {
 public:
  explicit Bench(Policy policy = {}) : lifecycle(policy, 7) {}

  Actions send(const Event& event) { return lifecycle.handle(event, now); }

  /// Lets time pass deadline by deadline, as the loop does, and gathers what happens.
  Actions pass(Duration duration) {
    const Time end = now + duration;
    Actions all;
    for (auto next = lifecycle.next_deadline(); next && *next <= end; next = lifecycle.next_deadline()) {
      now = std::max(now, *next);
      const Actions actions = send(TimePassed{});
      all.insert(all.end(), actions.begin(), actions.end());
      if (actions.empty()) break;
    }
    now = end;
    return all;
  }

  void start() { (void)pass(0s); }
  void serve() {
    start();
    (void)send(Answered{1, true});
  }

  Time now = Time(1000s);
  Lifecycle lifecycle;
};

template <class Wanted>
std::vector<Wanted> all(const Actions& actions) {
  std::vector<Wanted> found;
  for (const Action& action : actions) {
    if (const auto* match = std::get_if<Wanted>(&action)) found.push_back(*match);
  }
  return found;
}

template <class Wanted>
bool is(const Bench& bench) {
  return std::holds_alternative<Wanted>(bench.lifecycle.state());
}

}  // namespace kms::supervisor
