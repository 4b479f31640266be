#include "supervisor/lifecycle/handover.h"

#include <doctest/doctest.h>

using kms::supervisor::Handover;
using kms::supervisor::HandoverMode;

TEST_CASE("auto tries both ways in turn until one is answered") {
  Handover handover(HandoverMode::automatic);
  CHECK(handover.hand_down());
  CHECK(handover.text() == "handed down by the supervisor (not proven yet)");
  CHECK(handover.failed("it exited with code 1 before it answered"));
  CHECK_FALSE(handover.hand_down());
  CHECK(handover.failed("again"));
  CHECK(handover.hand_down());
  handover.answered(true);
  CHECK_FALSE(handover.failed("a later death is no proof"));
  CHECK(handover.hand_down());
  CHECK(handover.text() == "handed down by the supervisor");
}

TEST_CASE("a plugin that binds by itself is named with what it did to the supervisor's socket") {
  Handover handover(HandoverMode::automatic);
  CHECK(handover.failed("it exited with code 1 before it answered"));
  handover.answered(false);
  CHECK(handover.text() ==
        "bound by the plugin, which did not take the supervisor's socket: it exited with code 1 before it "
        "answered");
  CHECK_FALSE(handover.private_probes());
}

TEST_CASE("require and off never change") {
  Handover require(HandoverMode::require);
  CHECK_FALSE(require.failed("whatever"));
  CHECK(require.hand_down());
  Handover off(HandoverMode::off);
  CHECK_FALSE(off.failed("whatever"));
  CHECK_FALSE(off.hand_down());
}
