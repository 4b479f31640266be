// parse_scenario() takes any text. An accepted scenario runs in the order of time to its end.
#include "provider/config/config.h"
#include "provider/config/scenario.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using kms::provider::ScenarioTimeline;
  const auto parsed = kms::provider::parse_scenario(kms::fuzz::text_of_input(data, size));
  if (!parsed) {
    kms::fuzz::expect_good(parsed.error());
    return 0;
  }
  const auto& scenario = *parsed;
  const ScenarioTimeline::Time begun{std::chrono::hours(1)};
  ScenarioTimeline timeline(scenario, "node", "instance", begun);
  ScenarioTimeline::Time last = begun;
  int done = 0;
  while (const auto next = timeline.next()) {
    kms::fuzz::expect(!timeline.take_due(*next - kms::Duration{1}), "nothing is due before its time");
    const auto due = timeline.take_due(*next);
    kms::fuzz::expect(due && due->at == *next && due->at >= last, "what is next is due then, in order");
    last = due->at;
    ++done;
  }
  kms::fuzz::expect(done <= 2 * scenario.steps_size(), "a step begins and ends once");
  const auto status = timeline.status(last);
  kms::fuzz::expect(status.state() == mock_kms::v1::ScenarioStatus::FINISHED, "it comes to its end");
  kms::fuzz::expect(status.steps_size() == scenario.steps_size(), "every step has its state");
  return 0;
}
