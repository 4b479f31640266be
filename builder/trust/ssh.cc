#include "builder/trust/ssh.h"

#include <openssl/core_names.h>
#include <openssl/err.h>

#include <algorithm>
#include <array>

#include "builder/trust/ssh_wire.h"

namespace kms::builder {
namespace {

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

openssl::Key from_parameters(const char* kind, const openssl::ParameterBuilder& builder) {
  const openssl::Parameters parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  const openssl::KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, kind, nullptr));
  EVP_PKEY* raw = nullptr;
  if (!parameters || !context || EVP_PKEY_fromdata_init(context.get()) <= 0 ||
      EVP_PKEY_fromdata(context.get(), &raw, EVP_PKEY_PUBLIC_KEY, parameters.get()) <= 0) {
    return nullptr;
  }
  openssl::Key key(raw);
  const openssl::KeyContext check(EVP_PKEY_CTX_new(raw, nullptr));
  return check && EVP_PKEY_public_check(check.get()) == 1 ? std::move(key) : nullptr;
}

openssl::Key read_ed25519(SshWire& wire) {
  const auto point = wire.string();
  if (!point || point->size() != 32) return nullptr;
  return openssl::Key(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, openssl::bytes(*point), point->size()));
}

openssl::Key read_ecdsa(SshWire& wire, const Curve& curve) {
  const auto name = wire.string();
  const auto point = wire.string();
  if (name != curve.ssh_name || !point || point->size() != curve.point_bytes || point->front() != 4)
    return nullptr;
  const openssl::ParameterBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve.openssl_name, 0);
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point->data(), point->size());
  return from_parameters("EC", builder);
}

openssl::Key read_rsa(SshWire& wire) {
  const auto exponent = wire.positive_integer();
  const auto modulus = wire.positive_integer();
  if (!exponent || !modulus || exponent->size() > max_exponent_bytes || modulus->size() > max_rsa_bits / 8) {
    return nullptr;
  }
  const openssl::Number e = openssl::number(*exponent);
  const openssl::Number n = openssl::number(*modulus);
  if (BN_num_bits(n.get()) < min_rsa_bits) return nullptr;
  const openssl::ParameterBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get());
  return from_parameters("RSA", builder);
}

/// RFC 5656's pair of integers as OpenSSL takes it, "" where it is none.
std::string der_of_ecdsa(std::string_view blob) {
  SshWire wire(blob);
  const auto r = wire.positive_integer();
  const auto s = wire.positive_integer();
  if (!r || !s || !wire.at_end()) return "";
  const openssl::EcdsaSignature pair(ECDSA_SIG_new());
  ECDSA_SIG_set0(pair.get(), openssl::number(*r).release(), openssl::number(*s).release());
  unsigned char* raw = nullptr;
  const int size = i2d_ECDSA_SIG(pair.get(), &raw);
  std::string der(reinterpret_cast<const char*>(raw), static_cast<std::size_t>(std::max(size, 0)));
  OPENSSL_free(raw);
  return der;
}

bool verify(EVP_PKEY* key, const EVP_MD* digest, std::string_view message, std::string_view signature) {
  const openssl::DigestContext context(EVP_MD_CTX_new());
  const bool good = EVP_DigestVerifyInit(context.get(), nullptr, digest, nullptr, key) == 1 &&
                    EVP_DigestVerify(context.get(), openssl::bytes(signature), signature.size(),
                                     openssl::bytes(message), message.size()) == 1;
  ERR_clear_error();
  return good;
}

}  // namespace

std::string ssh_key_type(std::string_view blob) { return std::string(SshWire(blob).string().value_or("")); }

std::string ssh_fingerprint(std::string_view blob) {
  std::string text = openssl::encode_base64(openssl::digest(EVP_sha256(), blob));
  while (text.ends_with('=')) text.pop_back();
  return "SHA256:" + text;
}

Outcome<SshKey> SshKey::parse(std::string_view blob) {
  SshWire wire(blob);
  const std::string type(wire.string().value_or(""));
  openssl::Key key;
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

}  // namespace kms::builder
