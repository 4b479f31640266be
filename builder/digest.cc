#include "builder/digest.h"

#include <openssl/evp.h>

#include <array>

#include "proto/program/error.h"

namespace kms::builder {

std::string sha256_of_text(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1)
    throw Error("cannot compute SHA-256");
  constexpr auto digits = "0123456789abcdef";
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += {digits[digest[i] >> 4], digits[digest[i] & 15]};
  return hex;
}

}  // namespace kms::builder
