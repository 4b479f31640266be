#include "provider/kms/aes_service.h"

namespace kms::provider {
namespace {

constexpr std::string_view format_annotation = "format.mock-kms.test";
constexpr std::size_t v1_size_bytes = 4;
constexpr std::size_t max_v1_key_id = 1024;

Error invalid(std::string cause) { return {std::move(cause), "", ErrorCode::invalid_input}; }

Error not_found(std::string cause) { return {std::move(cause), "", ErrorCode::not_found}; }

/// Names what differs. The API server stores annotations in plaintext, so showing them reveals nothing.
Outcome<> check_annotations(const Annotations& annotations) {
  const std::string name(format_annotation);
  const auto format = annotations.find(format_annotation);
  if (format == annotations.end()) return invalid("annotation " + name + " is missing");
  if (format->second != seal_format) {
    return invalid("annotation " + name + " is not \"" + std::string(seal_format) +
                   "\", the only format known here");
  }
  if (annotations.size() > 1) return invalid("there is an annotation that Encrypt did not return");
  return {};
}

Outcome<> check_sealed_size(Bytes ciphertext) {
  if (ciphertext.empty()) return invalid("ciphertext is empty");
  if (ciphertext.size() >= seal_overhead) return {};
  return invalid("ciphertext has " + std::to_string(ciphertext.size()) + " bytes; the minimum is " +
                 std::to_string(seal_overhead));
}

}  // namespace

Outcome<StatusAnswer> AesService::status() const {
  constexpr std::string_view canary = "mock-kms-provider self-test";
  const auto key = keys_.current();
  const auto opened = open(*key, bytes_of(seal(*key, bytes_of(canary))));
  if (!opened || text_of(opened->view()) != canary) {
    return Error("the self-test under " + key->id_text + " failed");
  }
  return StatusAnswer{"v2", "ok", key->id_text};
}

std::shared_ptr<const Key> AesService::key(const SealOptions& options) const {
  auto key = keys_.current();
  return options.under_current ? key : keys_.at(another_version(key->id.version));
}

Outcome<EncryptAnswer> AesService::encrypt(std::string_view uid, Bytes plaintext,
                                           const SealOptions& options) const {
  if (uid.empty()) return invalid("uid is empty");
  const auto under = key(options);
  return EncryptAnswer{seal(*under, plaintext, options.nonce),
                       under->id_text,
                       {{std::string(format_annotation), std::string(seal_format)}}};
}

Outcome<SecretBytes> AesService::open_under(std::string_view key_id, Bytes ciphertext) const {
  const KeyIdFormat& format = keys_.format();
  const auto id = format.read(key_id, &keys_.instance());
  if (!id) {
    if (!format.read(key_id)) return invalid("key_id is not of the format " + format.text());
    return not_found("key_id " + std::string(key_id) + " belongs to another instance than " +
                     keys_.instance());
  }
  const auto key = keys_.at(id->version);
  if (key->id_text != key_id) {
    return not_found("key_id " + std::string(key_id) + " belongs to another seed; here this version is " +
                     key->id_text);
  }
  auto plaintext = open(*key, ciphertext);
  if (!plaintext) return invalid("ciphertext was not made under key_id " + key->id_text + ", or was changed");
  return *std::move(plaintext);
}

Outcome<SecretBytes> AesService::decrypt(const DecryptArguments& arguments) const {
  const auto& [ciphertext, key_id, annotations, uid] = arguments;
  if (const auto checked = check_sealed_size(ciphertext); !checked) return checked.error();
  if (const auto checked = check_annotations(annotations); !checked) return checked.error();
  return open_under(key_id, ciphertext);
}

VersionAnswer AesService::v1_version() const { return {"v1beta1", "mock-kms-provider", KMS_VERSION}; }

Outcome<std::string> AesService::v1_encrypt(Bytes plaintext, const SealOptions& options) const {
  const auto under = key(options);
  std::string cipher;
  append_field(cipher, under->id_text);
  return cipher + seal(*under, plaintext, options.nonce);
}

std::string_view AesService::v1_key_id(std::string_view cipher) const { return key_id_in_v1_cipher(cipher); }

std::string_view key_id_in_v1_cipher(std::string_view cipher) {
  if (cipher.size() < v1_size_bytes) return {};
  std::size_t size = 0;
  for (const char c : cipher.substr(0, v1_size_bytes)) size = size << 8U | static_cast<unsigned char>(c);
  if (size > max_v1_key_id || size > cipher.size() - v1_size_bytes) return {};
  return cipher.substr(v1_size_bytes, size);
}

Outcome<SecretBytes> AesService::v1_decrypt(Bytes cipher) const {
  const std::string_view key_id = v1_key_id(text_of(cipher));
  if (key_id.empty()) return invalid("the cipher does not begin with a key_id: another plugin made it");
  const Bytes sealed = cipher.subspan(v1_size_bytes + key_id.size());
  if (const auto checked = check_sealed_size(sealed); !checked) return checked.error();
  return open_under(key_id, sealed);
}

}  // namespace kms::provider
