#include <doctest/doctest.h>

#include "supervisor/lifecycle/lifecycle.h"

using kms::Duration;
using kms::supervisor::RestartDelay;
using kms::supervisor::RestartDelayPolicy;
using namespace std::chrono_literals;

namespace {

constexpr RestartDelayPolicy policy{100ms, 10s, 30s};

}  // namespace

TEST_CASE("the first restart is at once and later ones wait twice as long each time, up to the cap") {
  RestartDelay delay(policy, 1);
  CHECK(delay.next(5s) == 0s);
  Duration expected = 100ms;
  for (int death = 2; death < 40; ++death) {
    CAPTURE(death);
    const Duration wait = delay.next(std::nullopt);
    CHECK(wait >= expected / 2);
    CHECK(wait <= expected);
    expected = std::min<Duration>(expected * 2, 10s);
  }
}

TEST_CASE("a long service resets the delay, a short one and a process that never got ready do not") {
  RestartDelay delay(policy, 1);
  for (int i = 0; i < 5; ++i) (void)delay.next(std::nullopt);
  CHECK(delay.next(29s) > 0s);
  CHECK(delay.next(30s) == 0s);
  CHECK(delay.next(1ms) > 0s);
}

TEST_CASE("two seeds do not wait in step and one seed always waits the same") {
  RestartDelay a(policy, 1);
  RestartDelay b(policy, 2);
  RestartDelay c(policy, 1);
  bool differ = false;
  for (int i = 0; i < 10; ++i) {
    const Duration first = a.next(std::nullopt);
    differ |= first != b.next(std::nullopt);
    CHECK(first == c.next(std::nullopt));
  }
  CHECK(differ);
}
