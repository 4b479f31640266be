#include <doctest/doctest.h>

#include "common/crypto/bytes.h"
#include "provider/keys/key_ring.h"
#include "tests/provider/hex.h"

using namespace kms;
using namespace kms::provider;

namespace {

std::string count(int first, int last) {
  std::string bytes;
  for (int i = first; i <= last; ++i) bytes.push_back(static_cast<char>(i));
  return bytes;
}

std::string derived(const std::string& secret, const std::string& salt, const std::string& info,
                    std::size_t length) {
  return hex_of(hkdf_sha256(bytes_of(secret), bytes_of(salt), bytes_of(info), length).view());
}

}  // namespace

TEST_CASE("HKDF-SHA256 gives what RFC 5869 appendix A.1, A.2 and A.3 print") {
  CHECK(derived(std::string(22, '\x0b'), count(0x00, 0x0c), count(0xf0, 0xf9), 42) ==
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  CHECK(derived(count(0x00, 0x4f), count(0x60, 0xaf), count(0xb0, 0xff), 82) ==
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
  CHECK(derived(std::string(22, '\x0b'), "", "", 42) ==
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

TEST_CASE("expanding alone gives what RFC 5869 prints for the pseudorandom keys of appendix A.1 and A.2") {
  const auto expanded = [](const std::string& key, const std::string& info, std::size_t length) {
    return hex_of(hkdf_sha256_expand(bytes_of(from_hex(key)), bytes_of(info), length).view());
  };
  CHECK(expanded("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5", count(0xf0, 0xf9), 42) ==
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  CHECK(expanded("06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244", count(0xb0, 0xff), 82) ==
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
}
