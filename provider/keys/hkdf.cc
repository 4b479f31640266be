#include "provider/keys/hkdf.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <array>
#include <memory>
#include <string>

#include "common/crypto/openssl.h"

namespace kms::provider {
namespace {

using Kdf = std::unique_ptr<EVP_KDF, openssl::Free<EVP_KDF_free>>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, openssl::Free<EVP_KDF_CTX_free>>;

/// OpenSSL's parameters are not const, but it only reads these. It refuses a null pointer even for no bytes.
OSSL_PARAM octets(const char* name, Bytes bytes) {
  static std::uint8_t nothing = 0;
  auto* const data = bytes.empty() ? &nothing : const_cast<std::uint8_t*>(bytes.data());
  return OSSL_PARAM_construct_octet_string(name, data, bytes.size());
}

SecretBytes derive(const OSSL_PARAM* parameters, std::size_t length) {
  const Kdf kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  if (!kdf) openssl::throw_error("find HKDF");
  const KdfContext context(EVP_KDF_CTX_new(kdf.get()));
  if (!context) openssl::throw_error("prepare HKDF");
  SecretBytes key(length);
  if (EVP_KDF_derive(context.get(), key.data(), key.size(), parameters) != 1)
    openssl::throw_error("derive a key");
  return key;
}

OSSL_PARAM text(const char* name, std::string& value) {
  return OSSL_PARAM_construct_utf8_string(name, value.data(), 0);
}

}  // namespace

SecretBytes hkdf_sha256(Bytes secret, Bytes salt, Bytes info, std::size_t length) {
  std::string digest = "SHA256";
  const std::array parameters{
      text(OSSL_KDF_PARAM_DIGEST, digest), octets(OSSL_KDF_PARAM_KEY, secret),
      octets(OSSL_KDF_PARAM_SALT, salt),   octets(OSSL_KDF_PARAM_INFO, info),
      OSSL_PARAM_construct_end(),
  };
  return derive(parameters.data(), length);
}

SecretBytes hkdf_sha256_expand(Bytes pseudorandom_key, Bytes info, std::size_t length) {
  std::string digest = "SHA256";
  std::string mode = "EXPAND_ONLY";
  const std::array parameters{
      text(OSSL_KDF_PARAM_DIGEST, digest),
      text(OSSL_KDF_PARAM_MODE, mode),
      octets(OSSL_KDF_PARAM_KEY, pseudorandom_key),
      octets(OSSL_KDF_PARAM_INFO, info),
      OSSL_PARAM_construct_end(),
  };
  return derive(parameters.data(), length);
}

void append_field(std::string& to, std::string_view field) {
  for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<char>(field.size() >> shift & 0xFF));
  to.append(field);
}

}  // namespace kms::provider
