#include "supervisor/lifecycle/back_off.h"

#include <doctest/doctest.h>

using kms::Duration;
using kms::supervisor::BackOff;
using kms::supervisor::BackOffPolicy;
using namespace std::chrono_literals;

namespace {

constexpr BackOffPolicy policy{100ms, 10s, 30s};

}  // namespace

TEST_CASE("the first restart is at once and later ones wait twice as long each time, up to the cap") {
  BackOff back_off(policy, 1);
  CHECK(back_off.next(true, 5s) == 0s);
  Duration expected = 100ms;
  for (int death = 2; death < 40; ++death) {
    CAPTURE(death);
    const Duration wait = back_off.next(false, 1ms);
    CHECK(wait >= expected / 2);
    CHECK(wait <= expected);
    expected = std::min<Duration>(expected * 2, 10s);
  }
}

TEST_CASE("a long life that was ready starts the back-off anew, one that never got ready does not") {
  BackOff back_off(policy, 1);
  for (int i = 0; i < 5; ++i) (void)back_off.next(false, 1ms);
  CHECK(back_off.next(false, 1h) > 0s);
  CHECK(back_off.next(true, 29s) > 0s);
  CHECK(back_off.next(true, 30s) == 0s);
  CHECK(back_off.next(true, 1ms) > 0s);
}

TEST_CASE("two seeds do not wait in step and one seed always waits the same") {
  BackOff a(policy, 1);
  BackOff b(policy, 2);
  BackOff c(policy, 1);
  bool differ = false;
  for (int i = 0; i < 10; ++i) {
    const Duration first = a.next(false, 1ms);
    differ |= first != b.next(false, 1ms);
    CHECK(first == c.next(false, 1ms));
  }
  CHECK(differ);
}
