#include "supervisor/lifecycle/handover.h"

#include <doctest/doctest.h>

using kms::supervisor::Handover;
using kms::supervisor::HandoverMode;

TEST_CASE("auto tries both ways in turn until one is answered") {
  Handover handover(HandoverMode::automatic);
  CHECK(handover.hand_down());
  CHECK(handover.text() == "handed down by the supervisor (not confirmed yet)");
  CHECK(handover.failed("it exited with code 1 before it answered"));
  CHECK_FALSE(handover.hand_down());
  CHECK(handover.failed("again"));
  CHECK(handover.hand_down());
  handover.answered(true);
  CHECK_FALSE(handover.failed("a later death confirms nothing"));
  CHECK(handover.hand_down());
  CHECK(handover.text() == "handed down by the supervisor");
}

TEST_CASE("a plugin that binds by itself is named with what it did to the supervisor's socket") {
  Handover handover(HandoverMode::automatic);
  CHECK(handover.failed("it exited with code 1 before it answered"));
  handover.answered(false);
  CHECK(handover.text() ==
        "bound by the plugin, which did not take the supervisor's socket: it exited with code 1 before it "
        "answered; the supervisor offers its socket once more at the next start");
  CHECK_FALSE(handover.private_probes());
}

TEST_CASE("the sockets that a plugin did not take are offered once more at its next start, and never again") {
  Handover handover(HandoverMode::automatic);
  handover.next_process();
  (void)handover.failed("it exited with code 1 before it answered");
  handover.next_process();
  handover.answered(false);
  handover.next_process();
  CHECK(handover.hand_down());
  CHECK(handover.failed("it exited with code 2 before it answered"));
  CHECK_FALSE(handover.hand_down());
  handover.next_process();
  handover.answered(false);
  handover.next_process();
  CHECK_FALSE(handover.hand_down());
  CHECK(handover.text() ==
        "bound by the plugin, which did not take the supervisor's socket: it exited with code 2 before it "
        "answered");

  Handover takes(HandoverMode::automatic);
  (void)takes.failed("no seed yet");
  takes.answered(false);
  takes.next_process();
  takes.answered(true);
  takes.next_process();
  CHECK(takes.hand_down());
  CHECK(takes.private_probes());
}

TEST_CASE("a plugin that takes the socket alone is asked privately at two starts, and then no more") {
  Handover handover(HandoverMode::automatic);
  for (const bool skipped : {false, false, true, true}) {
    handover.next_process();
    CHECK(handover.only_at_endpoint() == skipped);
    handover.answered(false);
  }
  CHECK(handover.text() ==
        "handed down by the supervisor; the plugin does not answer on the descriptor 'probe'");
  Handover slow_once(HandoverMode::automatic);
  slow_once.next_process();
  slow_once.answered(false);
  slow_once.next_process();
  slow_once.answered(true);
  slow_once.next_process();
  CHECK_FALSE(slow_once.only_at_endpoint());
}

TEST_CASE("require and off never change") {
  Handover require(HandoverMode::require);
  CHECK_FALSE(require.failed("whatever"));
  CHECK(require.hand_down());
  Handover off(HandoverMode::off);
  CHECK_FALSE(off.failed("whatever"));
  CHECK_FALSE(off.hand_down());
  off.answered(false);
  off.next_process();
  CHECK_FALSE(off.hand_down());
}
