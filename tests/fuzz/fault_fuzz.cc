// read_fault() and complete_fault() take any text. An accepted fault is complete, also when it is read again.
#include <google/protobuf/util/message_differencer.h>

#include "common/text/protobuf.h"
#include "provider/faults/presets.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using mock_kms::v1::Fault;
  const auto read = kms::provider::read_fault(kms::fuzz::text_of_input(data, size));
  if (!read) {
    kms::fuzz::expect_good(read.error());
    return 0;
  }
  const auto complete = kms::provider::complete_fault(*read);
  if (!complete) {
    kms::fuzz::expect_good(complete.error());
    return 0;
  }
  const auto& fault = *complete;
  kms::fuzz::expect(fault.effect_case() != Fault::EFFECT_NOT_SET, "a complete fault has an effect");
  const auto again = kms::provider::read_fault(kms::to_short_json(fault));
  kms::fuzz::expect(again.ok(), "what is written can be read");
  const auto same = kms::provider::complete_fault(*again);
  kms::fuzz::expect(same.ok(), "a complete fault is a good one");
  kms::fuzz::expect(google::protobuf::util::MessageDifferencer::Equivalent(*same, fault),
                    "it reads as the same");
  return 0;
}
