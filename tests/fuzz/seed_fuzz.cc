// parse_seed() takes any bytes. A seed always has 32 bytes.
#include "provider/keys/key_ring.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto parsed = kms::provider::parse_seed({data, size}, "FILE");
  if (!parsed) {
    kms::fuzz::expect_good(parsed.error());
  } else {
    kms::fuzz::expect(parsed->size() == kms::provider::seed_size, "a seed has its size");
  }
  return 0;
}
