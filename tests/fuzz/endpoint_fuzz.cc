// Endpoint::parse() takes any text. An accepted endpoint prints as it reads and fits a socket address.
#include "common/net/endpoint.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto parsed = kms::Endpoint::parse(kms::fuzz::text_of_input(data, size));
  if (!parsed) {
    kms::fuzz::expect_good(parsed.error());
    return 0;
  }
  const auto& endpoint = *parsed;
  const auto [address, length] = endpoint.address();
  kms::fuzz::expect(length <= sizeof address, "an address fits the kernel's");
  const auto again = kms::Endpoint::parse(endpoint.uri());
  kms::fuzz::expect(again.ok(), "what is written can be read");
  kms::fuzz::expect(again->uri() == endpoint.uri(), "it reads as the same");
  return 0;
}
