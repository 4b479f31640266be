#include "provider/config/scenario.h"

#include <doctest/doctest.h>

#include "provider/config/config.h"

namespace kms::provider {
namespace {

using mock_kms::v1::ScenarioStatus;
using mock_kms::v1::StepStatus;
using namespace std::chrono_literals;

mock_kms::v1::Scenario scenario(const std::string& steps) {
  auto parsed = parse_scenario(R"({"name": "test", "steps": [)" + steps + "]}");
  REQUIRE_MESSAGE(parsed.ok(), parsed.error().line());
  return *parsed;
}

struct TimelineFixture {
  explicit TimelineFixture(const std::string& steps) : timeline(scenario(steps), "node-1", "blue", now) {}
  /// The steps that are due now, such as "+1 -2": step 1 begins, step 2 ends.
  std::string due() {
    std::string text;
    while (const auto next = timeline.take_due(now)) {
      text +=
          (text.empty() ? "" : " ") + std::string(next->begins ? "+" : "-") + std::to_string(next->step + 1);
    }
    return text;
  }
  /// One letter per step: waiting, active, done, failed or elsewhere.
  std::string states() {
    std::string text;
    const auto status = timeline.status(now);
    for (const auto& step : status.steps()) text += StepStatus::State_Name(step.state())[0];
    return text;
  }
  ScenarioTimeline::Time now{1h};
  ScenarioTimeline timeline;
};

constexpr auto hang_10_to_20 = R"({"at": "10s", "do": {"fault": {"hang": {}}}, "until": "20s"})";

TEST_CASE("a step begins at its time and ends at its own, whatever the order in the file is") {
  TimelineFixture fixture(hang_10_to_20 + std::string(R"(, {"at": "0s", "do": {"rotate": {}}})"));
  CHECK(fixture.due() == "+2");
  CHECK(fixture.states() == "WD");
  CHECK(fixture.timeline.next() == fixture.now + 10s);
  fixture.now += 10s - 1ns;
  CHECK(fixture.due().empty());
  fixture.now += 1ns;
  CHECK(fixture.due() == "+1");
  CHECK(fixture.states() == "AD");
  CHECK(fixture.timeline.status(fixture.now).state() == ScenarioStatus::RUNNING);
  fixture.now += 10s;
  CHECK(fixture.due() == "-1");
  CHECK(!fixture.timeline.next());
  CHECK(fixture.timeline.status(fixture.now).state() == ScenarioStatus::FINISHED);
}

TEST_CASE("at one instant a step ends before another begins") {
  TimelineFixture fixture(hang_10_to_20 +
                          std::string(R"(, {"at": "20s", "do": {"fault": {"preset": "slow"}}})"));
  fixture.now += 20s;
  CHECK(fixture.due() == "+1 -1 +2");
}

TEST_CASE("a late caller gets the time at which a step was due") {
  TimelineFixture fixture(hang_10_to_20);
  fixture.now += 15s;
  const auto due = fixture.timeline.take_due(fixture.now);
  REQUIRE(due);
  CHECK(due->at == fixture.now - 5s);
}

TEST_CASE("steps of other nodes and instances are never due") {
  TimelineFixture fixture(
      R"({"node": "node-2", "do": {"rotate": {}}}, {"instance": "green", "do": {"rotate": {}}},
                   {"node": "node-*", "instance": "b*", "do": {"rotate": {}}})");
  CHECK(fixture.due() == "+3");
  CHECK(fixture.states() == "EED");
}

TEST_CASE("a step that failed is not ended, and says why") {
  TimelineFixture fixture(hang_10_to_20);
  fixture.now += 10s;
  CHECK(fixture.due() == "+1");
  fixture.timeline.fail(0, "the disk is full");
  fixture.now += 10s;
  CHECK(fixture.due().empty());
  CHECK(fixture.states() == "F");
  CHECK(fixture.timeline.status(fixture.now).steps(0).error() == "the disk is full");
}

TEST_CASE("a scenario that was stopped stays as it was") {
  TimelineFixture fixture(hang_10_to_20);
  fixture.now += 12s;
  CHECK(fixture.due() == "+1");
  fixture.timeline.stop(fixture.now);
  CHECK(!fixture.timeline.next());
  fixture.now += 1h;
  CHECK(fixture.due().empty());
  const auto status = fixture.timeline.status(fixture.now);
  CHECK(status.state() == ScenarioStatus::STOPPED);
  CHECK(status.elapsed().seconds() == 12);
  CHECK(status.length().seconds() == 20);
  CHECK(fixture.states() == "S");
}

TEST_CASE("a finished scenario that is stopped stays a finished one") {
  TimelineFixture fixture(R"({"do": {"fault": {"hang": {}}}})");
  CHECK(fixture.due() == "+1");
  CHECK(fixture.states() == "A");
  fixture.timeline.stop(fixture.now + 5s);
  CHECK(fixture.timeline.status(fixture.now + 9s).state() == ScenarioStatus::FINISHED);
  CHECK(fixture.states() == "D");
}

TEST_CASE("a scenario that makes no sense is refused with the step and the reason") {
  const auto why = [](const std::string& text) {
    const auto parsed = parse_scenario(text);
    return parsed.ok() ? "" : parsed.error().cause();
  };
  CHECK(why("{}") == "the scenario has no steps");
  CHECK(why(R"({"steps": [{"at": "1s"}]})") == "steps[0]: it does nothing");
  CHECK(why(R"({"steps": [{"at": "-1s", "do": {"rotate": {}}}]})")
            .starts_with("steps[0].at: '-1s' is negative"));
  mock_kms::v1::Scenario early;  // as a client may send it
  early.add_steps()->mutable_action()->mutable_rotate();
  early.mutable_steps(0)->mutable_at()->set_seconds(-1);
  CHECK(complete_scenario(early).error().cause() == "steps[0]: it begins before the scenario");
  CHECK(why(R"({"steps": [{"do": {"rotate": {}}, "until": "1s"}]})") == "steps[0]: a rotation has no end");
  CHECK(why(R"({"steps": [{"at": "2s", "do": {"fault": {"hang": {}}}, "until": "2s"}]})") ==
        "steps[0]: it ends before it begins");
  CHECK(why(R"({"steps": [{"do": {"fault": {"preset": "down-at-start"}}}]})") ==
        "steps[0].do.fault: a late start has passed when a scenario runs");
  CHECK(
      why(R"({"steps": [{"do": {"fault": {"name": "a", "hang": {}}}}, {"do": {"fault": {"name": "a", "hang": {}}}}]})") ==
      "steps[1].do.fault: another fault is named 'a'");
  CHECK(why(R"({"steps": [{"do": {"fault": {"preset": "nope"}}}]})") ==
        "steps[0].do.fault: there is no preset 'nope'");
  CHECK(why(R"({"steps": 1})") == "steps: it is not a list in [ ]");
}

}  // namespace
}  // namespace kms::provider
