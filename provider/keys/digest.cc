#include "provider/keys/digest.h"

#include <openssl/evp.h>

#include <array>

#include "provider/encoding.h"
#include "provider/keys/openssl_error.h"

namespace kms::provider {

std::string sha256_hex(Bytes bytes) {
  std::array<std::uint8_t, 32> digest{};
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) != 1) {
    throw_openssl("compute a digest");
  }
  return hex_of(digest);
}

}  // namespace kms::provider
