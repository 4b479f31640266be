#include "builder/trust/ssh_signature.h"

#include <algorithm>

#include "builder/trust/openssl.h"
#include "builder/trust/ssh_wire.h"

namespace kms::builder {
namespace {

constexpr std::string_view magic = "SSHSIG";
constexpr std::string_view begin_line = "-----BEGIN SSH SIGNATURE-----";
constexpr std::string_view end_line = "-----END SSH SIGNATURE-----";
constexpr std::size_t max_armor = 32768;  ///< RSA's of 8192 bits with its key is 3 kB

Error malformed(const std::string& what) {
  return {"the signature is malformed: " + what, "sign it again, with gpg.format=ssh"};
}

/// The base64 between the two lines, without line ends.
std::string armored_base64(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  if (text.size() > max_armor || !text.starts_with(begin_line) || !text.ends_with(end_line) ||
      text.size() < begin_line.size() + end_line.size()) {
    return "";
  }
  std::string body(text.substr(begin_line.size(), text.size() - begin_line.size() - end_line.size()));
  std::erase_if(body, [](char c) { return c == '\n' || c == '\r'; });
  return body;
}

void add_string(std::string& bytes, std::string_view text) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(text.size() >> shift & 0xFF);
  bytes += text;
}

}  // namespace

Outcome<SshSignature> SshSignature::parse(std::string_view armored) {
  const auto bytes = openssl::decode_base64(armored_base64(armored));
  if (!bytes) return malformed("it is not armored as SSH's are");
  SshWire wire(*bytes);
  if (wire.take(magic.size()) != magic) return malformed("it does not begin as SSH's do");
  if (wire.uint32() != 1U) return malformed("its version is not 1");
  const auto key = wire.string();
  const auto name_space = wire.string();
  const auto reserved = wire.string();
  const auto hash = wire.string();
  const auto signature = wire.string();
  if (!signature || !wire.at_end()) return malformed("its parts do not fit into it");
  if (!reserved->empty()) return malformed("a part that is reserved is in use");
  if (*hash != "sha256" && *hash != "sha512") return malformed("its hash is neither sha256 nor sha512");
  return SshSignature{std::string(*key), std::string(*name_space), std::string(*hash),
                      std::string(*signature)};
}

std::string SshSignature::signed_bytes(std::string_view message) const {
  std::string bytes(magic);
  add_string(bytes, name_space);
  add_string(bytes, "");
  add_string(bytes, hash);
  add_string(bytes, openssl::digest(hash == "sha256" ? EVP_sha256() : EVP_sha512(), message));
  return bytes;
}

}  // namespace kms::builder
