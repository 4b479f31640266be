// Expectation::parse() takes any text. An accepted expectation can be compared with counters.
#include "provider/journal/expectation.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using kms::provider::Expectation;
  const auto parsed = Expectation::parse(kms::fuzz::text_of_input(data, size));
  if (!parsed) {
    kms::fuzz::expect_good(parsed.error());
    return 0;
  }
  const auto& expectation = *parsed;
  mock_kms::v1::CallCounts counts;
  kms::fuzz::expect(expectation.count(counts) == 0, "without calls there are none");
  auto& line = *counts.add_counts();
  line.set_method("Decrypt");
  line.set_code("OK");
  line.set_calls(7);
  line.set_faulted(3);
  const auto count = expectation.count(counts);
  kms::fuzz::expect(count == 0 || count == 3 || count == 7, "only calls that were are counted");
  (void)expectation.holds(count);
  kms::fuzz::expect(!expectation.since() || *expectation.since() >= kms::Duration{0},
                    "no look into the future");
  return 0;
}
