#include "builder/trust/ssh.h"

#include <absl/strings/escaping.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include <array>
#include <memory>

namespace kms::builder {
namespace {

using openssl::Key;
using openssl::KeyContext;
using Parameters = std::unique_ptr<OSSL_PARAM, Free<OSSL_PARAM_free>>;
using ParameterBuilder = std::unique_ptr<OSSL_PARAM_BLD, Free<OSSL_PARAM_BLD_free>>;
using Number = std::unique_ptr<BIGNUM, Free<BN_free>>;
using EcdsaSignature = std::unique_ptr<ECDSA_SIG, Free<ECDSA_SIG_free>>;

const unsigned char* raw_bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

Number number(std::string_view big_endian) {
  return Number(BN_bin2bn(raw_bytes(big_endian), static_cast<int>(big_endian.size()), nullptr));
}

constexpr int min_rsa_bits = 2048;
constexpr int max_rsa_bits = 8192;
constexpr std::size_t max_exponent_bytes = 8;

struct Curve {
  std::string_view type;
  std::string_view ssh_name;
  const char* openssl_name;
  std::size_t point_bytes;  ///< uncompressed
  const EVP_MD* (*digest)();
};

/// RFC 5656, sections 6.2.1 and 10.1.
constexpr std::array<Curve, 3> curves{{{"ecdsa-sha2-nistp256", "nistp256", "P-256", 65, EVP_sha256},
                                       {"ecdsa-sha2-nistp384", "nistp384", "P-384", 97, EVP_sha384},
                                       {"ecdsa-sha2-nistp521", "nistp521", "P-521", 133, EVP_sha512}}};

const Curve* curve_of(std::string_view type) {
  const auto* found =
      std::find_if(curves.begin(), curves.end(), [&](const Curve& curve) { return curve.type == type; });
  return found == curves.end() ? nullptr : found;
}

Key from_parameters(const char* kind, const ParameterBuilder& builder) {
  const Parameters parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, kind, nullptr));
  EVP_PKEY* raw = nullptr;
  if (!parameters || !context || EVP_PKEY_fromdata_init(context.get()) <= 0 ||
      EVP_PKEY_fromdata(context.get(), &raw, EVP_PKEY_PUBLIC_KEY, parameters.get()) <= 0) {
    return nullptr;
  }
  Key key(raw);
  const KeyContext check(EVP_PKEY_CTX_new(raw, nullptr));
  return check && EVP_PKEY_public_check(check.get()) == 1 ? std::move(key) : nullptr;
}

Key read_ed25519(SshWire& wire) {
  const auto point = wire.string();
  if (!point || point->size() != 32) return nullptr;
  return Key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw_bytes(*point), point->size()));
}

Key read_ecdsa(SshWire& wire, const Curve& curve) {
  const auto name = wire.string();
  const auto point = wire.string();
  if (name != curve.ssh_name || !point || point->size() != curve.point_bytes || point->front() != 4)
    return nullptr;
  const ParameterBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve.openssl_name, 0);
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point->data(), point->size());
  return from_parameters("EC", builder);
}

Key read_rsa(SshWire& wire) {
  const auto exponent = wire.positive_integer();
  const auto modulus = wire.positive_integer();
  if (!exponent || !modulus || exponent->size() > max_exponent_bytes || modulus->size() > max_rsa_bits / 8) {
    return nullptr;
  }
  const Number e = number(*exponent);
  const Number n = number(*modulus);
  if (BN_num_bits(n.get()) < min_rsa_bits) return nullptr;
  const ParameterBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get());
  return from_parameters("RSA", builder);
}

/// Converts RFC 5656's pair of integers to OpenSSL's form; "" if it is malformed.
std::string der_of_ecdsa(std::string_view blob) {
  SshWire wire(blob);
  const auto r = wire.positive_integer();
  const auto s = wire.positive_integer();
  if (!r || !s || !wire.at_end()) return "";
  const EcdsaSignature pair(ECDSA_SIG_new());
  ECDSA_SIG_set0(pair.get(), number(*r).release(), number(*s).release());
  unsigned char* raw = nullptr;
  const int size = i2d_ECDSA_SIG(pair.get(), &raw);
  std::string der(reinterpret_cast<const char*>(raw), static_cast<std::size_t>(std::max(size, 0)));
  OPENSSL_free(raw);
  return der;
}

bool verify(EVP_PKEY* key, const EVP_MD* digest, std::string_view message, std::string_view signature) {
  const openssl::DigestContext context(EVP_MD_CTX_new());
  const bool good = EVP_DigestVerifyInit(context.get(), nullptr, digest, nullptr, key) == 1 &&
                    EVP_DigestVerify(context.get(), raw_bytes(signature), signature.size(),
                                     raw_bytes(message), message.size()) == 1;
  ERR_clear_error();
  return good;
}

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

std::string encode_base64(std::string_view bytes) { return absl::Base64Escape({bytes.data(), bytes.size()}); }

std::string digest(const EVP_MD* kind, std::string_view message) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> value{};
  unsigned size = 0;
  EVP_Digest(message.data(), message.size(), value.data(), &size, kind, nullptr);
  return {reinterpret_cast<const char*>(value.data()), size};
}

}  // namespace

std::optional<std::uint32_t> SshWire::uint32() {
  const auto bytes = take(4);
  if (!bytes) return std::nullopt;
  std::uint32_t value = 0;
  for (const char byte : *bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

std::optional<std::string_view> SshWire::string() {
  const auto size = uint32();
  return size ? take(*size) : std::nullopt;
}

std::optional<std::string_view> SshWire::positive_integer() {
  auto bytes = string();
  if (!bytes || bytes->empty() || (bytes->front() & 0x80) != 0) return std::nullopt;
  bytes->remove_prefix(std::min(bytes->find_first_not_of('\0'), bytes->size()));
  return bytes;
}

std::optional<std::string_view> SshWire::take(std::size_t size) {
  if (size > rest_.size()) failed_ = true;
  if (failed_) return std::nullopt;
  const std::string_view taken = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return taken;
}

std::optional<std::string> decode_base64(std::string_view text) {
  std::string decoded;
  if (text.empty() || !absl::Base64Unescape({text.data(), text.size()}, &decoded)) return std::nullopt;
  // Abseil takes blanks, a missing padding and bits behind the end.
  if (encode_base64(decoded) != text) return std::nullopt;
  return decoded;
}

std::string ssh_key_type(std::string_view blob) { return std::string(SshWire(blob).string().value_or("")); }

std::string ssh_fingerprint(std::string_view blob) {
  std::string text = encode_base64(digest(EVP_sha256(), blob));
  while (text.ends_with('=')) text.pop_back();
  return "SHA256:" + text;
}

Outcome<SshKey> SshKey::parse(std::string_view blob) {
  SshWire wire(blob);
  const std::string type(wire.string().value_or(""));
  Key key;
  if (type == "ssh-ed25519") {
    key = read_ed25519(wire);
  } else if (type == "ssh-rsa") {
    key = read_rsa(wire);
  } else if (const Curve* curve = curve_of(type)) {
    key = read_ecdsa(wire, *curve);
  } else {
    return Error("keys of this kind are not supported", "sign with Ed25519, ECDSA or RSA");
  }
  ERR_clear_error();
  if (!key || !wire.at_end()) {
    return Error("the key is malformed, or RSA of less than 2048 or more than 8192 bits",
                 "make a new one by ssh-keygen");
  }
  return SshKey(type, std::move(key));
}

bool SshKey::verifies(std::string_view message, std::string_view signature) const {
  SshWire wire(signature);
  const auto algorithm = wire.string();
  const auto bytes = wire.string();
  if (!algorithm || !bytes || !wire.at_end()) return false;
  if (type_ == "ssh-ed25519") return *algorithm == type_ && verify(key_.get(), nullptr, message, *bytes);
  if (const Curve* curve = curve_of(type_)) {
    return *algorithm == type_ && verify(key_.get(), curve->digest(), message, der_of_ecdsa(*bytes));
  }
  const EVP_MD* digest = *algorithm == "rsa-sha2-256"   ? EVP_sha256()
                         : *algorithm == "rsa-sha2-512" ? EVP_sha512()
                                                        : nullptr;  // ssh-rsa is SHA-1
  const auto size = static_cast<std::size_t>(EVP_PKEY_get_size(key_.get()));
  if (digest == nullptr || bytes->size() > size) return false;
  return verify(key_.get(), digest, message, std::string(size - bytes->size(), '\0').append(*bytes));
}

Outcome<SshSignature> SshSignature::parse(std::string_view armored) {
  const auto bytes = decode_base64(armored_base64(armored));
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
  add_string(bytes, digest(hash == "sha256" ? EVP_sha256() : EVP_sha512(), message));
  return bytes;
}

}  // namespace kms::builder
