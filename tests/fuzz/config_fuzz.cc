// parse_config() takes any text. An accepted file is complete, reads the same again, and can take effect.
#include <google/protobuf/util/message_differencer.h>

#include "common/text/protobuf.h"
#include "provider/config/config.h"
#include "provider/faults/plan.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using google::protobuf::util::MessageDifferencer;
  using mock_kms::v1::Fault;
  using mock_kms::v1::ProviderConfig;
  const auto parsed = kms::provider::parse_config(kms::fuzz::text_of_input(data, size));
  if (!parsed) {
    kms::fuzz::expect_good(parsed.error());
    return 0;
  }
  const auto& config = *parsed;
  const auto again = kms::provider::parse_config(kms::to_short_json(config));
  kms::fuzz::expect(again.ok(), "a complete configuration is a good one");
  kms::fuzz::expect(MessageDifferencer::Equivalent(*again, config), "it reads as the same");
  kms::provider::FaultPlan plan(1, "node", "instance");
  kms::provider::FaultPlan::Time now{std::chrono::hours(1)};
  plan.declare({config.faults().begin(), config.faults().end()}, now, mock_kms::v1::FaultUse::FILE);
  for (int call = 0; call < 6; ++call) {
    const auto method = static_cast<Fault::Method>(call % 3 + 1);
    const auto decision = plan.decide({method, "uid", "default/v1/5f1c09ab"}, now);
    kms::fuzz::expect(decision.delay >= kms::Duration{0}, "no answer comes before its call");
    now += std::chrono::seconds(1);
  }
  kms::fuzz::expect(plan.list(now).faults_size() == config.faults_size(), "every fault is listed");
  return 0;
}
