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

struct Played {
  explicit Played(const std::string& steps) : play(scenario(steps), "node-1", "blue", now) {}
  /// What is due now, such as "+1 -2": step 1 begins, step 2 ends.
  std::string due() {
    std::string text;
    while (const auto next = play.take_due(now)) {
      text +=
          (text.empty() ? "" : " ") + std::string(next->begins ? "+" : "-") + std::to_string(next->step + 1);
    }
    return text;
  }
  /// One letter per step: waiting, active, done, failed or elsewhere.
  std::string states() {
    std::string text;
    const auto status = play.status(now);
    for (const auto& step : status.steps()) text += StepStatus::State_Name(step.state())[0];
    return text;
  }
  ScenarioTimeline::Time now{1h};
  ScenarioTimeline play;
};

constexpr auto hang_10_to_20 = R"({"at": "10s", "do": {"fault": {"hang": {}}}, "until": "20s"})";

TEST_CASE("a step begins at its time and ends at its own, whatever the order in the file is") {
  Played played(hang_10_to_20 + std::string(R"(, {"at": "0s", "do": {"rotate": {}}})"));
  CHECK(played.due() == "+2");
  CHECK(played.states() == "WD");
  CHECK(played.play.next() == played.now + 10s);
  played.now += 10s - 1ns;
  CHECK(played.due().empty());
  played.now += 1ns;
  CHECK(played.due() == "+1");
  CHECK(played.states() == "AD");
  CHECK(played.play.status(played.now).state() == ScenarioStatus::RUNNING);
  played.now += 10s;
  CHECK(played.due() == "-1");
  CHECK(!played.play.next());
  CHECK(played.play.status(played.now).state() == ScenarioStatus::FINISHED);
}

TEST_CASE("at one instant a step ends before another begins") {
  Played played(hang_10_to_20 + std::string(R"(, {"at": "20s", "do": {"fault": {"preset": "slow"}}})"));
  played.now += 20s;
  CHECK(played.due() == "+1 -1 +2");
}

TEST_CASE("one who asks late is told when it was due") {
  Played played(hang_10_to_20);
  played.now += 15s;
  const auto due = played.play.take_due(played.now);
  REQUIRE(due);
  CHECK(due->at == played.now - 5s);
}

TEST_CASE("steps of other nodes and instances are never due") {
  Played played(R"({"node": "node-2", "do": {"rotate": {}}}, {"instance": "green", "do": {"rotate": {}}},
                   {"node": "node-*", "instance": "b*", "do": {"rotate": {}}})");
  CHECK(played.due() == "+3");
  CHECK(played.states() == "EED");
}

TEST_CASE("a step that failed is not ended, and says why") {
  Played played(hang_10_to_20);
  played.now += 10s;
  CHECK(played.due() == "+1");
  played.play.fail(0, "the disk is full");
  played.now += 10s;
  CHECK(played.due().empty());
  CHECK(played.states() == "F");
  CHECK(played.play.status(played.now).steps(0).error() == "the disk is full");
}

TEST_CASE("a scenario that was stopped stays as it was") {
  Played played(hang_10_to_20);
  played.now += 12s;
  CHECK(played.due() == "+1");
  played.play.stop(played.now);
  CHECK(!played.play.next());
  played.now += 1h;
  CHECK(played.due().empty());
  const auto status = played.play.status(played.now);
  CHECK(status.state() == ScenarioStatus::STOPPED);
  CHECK(status.elapsed().seconds() == 12);
  CHECK(status.length().seconds() == 20);
  CHECK(played.states() == "D");
}

TEST_CASE("a scenario that makes no sense is refused with the step and the reason") {
  const auto why = [](const std::string& text) {
    const auto parsed = parse_scenario(text);
    return parsed.ok() ? "" : parsed.error().cause();
  };
  CHECK(why("{}") == "the scenario has no steps");
  CHECK(why(R"({"steps": [{"at": "1s"}]})") == "step 1 does nothing");
  CHECK(why(R"({"steps": [{"at": "-1s", "do": {"rotate": {}}}]})") ==
        "step 1: it begins before the scenario");
  CHECK(why(R"({"steps": [{"do": {"rotate": {}}, "until": "1s"}]})") == "step 1: a rotation has no end");
  CHECK(why(R"({"steps": [{"at": "2s", "do": {"fault": {"hang": {}}}, "until": "2s"}]})") ==
        "step 1 ends before it begins");
  CHECK(why(R"({"steps": [{"do": {"fault": {"preset": "down-at-start"}}}]})") ==
        "step 1: a late start has passed when a scenario is played");
  CHECK(
      why(R"({"steps": [{"do": {"fault": {"name": "a", "hang": {}}}}, {"do": {"fault": {"name": "a", "hang": {}}}}]})") ==
      "step 2: another one is named 'a'");
  CHECK(why(R"({"steps": [{"do": {"fault": {"preset": "nope"}}}]})") == "step 1: there is no preset 'nope'");
  CHECK(why(R"({"steps": 1})").starts_with("this is not a scenario: "));
}

}  // namespace
}  // namespace kms::provider
