#include "builder/trust/openssl.h"

#include <array>

namespace kms::builder::openssl {

std::optional<std::string> decode_base64(std::string_view text) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::size_t end = text.find_first_not_of(digits);
  const std::string_view padding = end == std::string_view::npos ? "" : text.substr(end);
  if (text.empty() || text.size() % 4 != 0 || !(padding.empty() || padding == "=" || padding == "==")) {
    return std::nullopt;
  }
  std::string decoded(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(decoded.data()), bytes(text),
                                   static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  decoded.resize(static_cast<std::size_t>(size) - padding.size());
  if (encode_base64(decoded) != text) return std::nullopt;  // bits behind the end
  return decoded;
}

std::string encode_base64(std::string_view bytes) {
  std::string encoded((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()), openssl::bytes(bytes),
                                   static_cast<int>(bytes.size()));
  encoded.resize(static_cast<std::size_t>(size));
  return encoded;
}

std::string digest(const EVP_MD* kind, std::string_view message) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> value{};
  unsigned size = 0;
  EVP_Digest(message.data(), message.size(), value.data(), &size, kind, nullptr);
  return {reinterpret_cast<const char*>(value.data()), size};
}

}  // namespace kms::builder::openssl
