#include "provider/kms/service.h"

namespace kms::provider {
namespace {

constexpr std::string_view format_annotation = "format.mock-kms.test";

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

}  // namespace

Outcome<StatusAnswer> KmsService::status() const {
  constexpr std::string_view canary = "mock-kms-provider self-test";
  const auto key = keys_.current();
  const auto opened = open(*key, bytes_of(seal(*key, bytes_of(canary))));
  if (!opened || text_of(opened->view()) != canary) {
    return Error("the self-test under " + key->id_text + " failed");
  }
  return StatusAnswer{"v2", "ok", key->id_text};
}

Outcome<EncryptAnswer> KmsService::encrypt(std::string_view uid, Bytes plaintext, bool current,
                                           Nonce nonce) const {
  if (uid.empty()) return invalid("uid is empty");
  auto key = keys_.current();
  if (!current) key = keys_.at(another_version(key->id.version));
  return EncryptAnswer{seal(*key, plaintext, nonce),
                       key->id_text,
                       {{std::string(format_annotation), std::string(seal_format)}}};
}

Outcome<SecretBytes> KmsService::decrypt(const DecryptArguments& arguments) const {
  const auto& [ciphertext, key_id, annotations] = arguments;
  if (ciphertext.empty()) return invalid("ciphertext is empty");
  if (ciphertext.size() < seal_overhead) {
    return invalid("ciphertext has " + std::to_string(ciphertext.size()) + " bytes; the minimum is " +
                   std::to_string(seal_overhead));
  }
  const auto id = KeyId::parse(key_id);
  if (!id) return invalid("key_id is not of the form <instance>/v<version>/<8 hex digits>");
  if (const auto checked = check_annotations(annotations); !checked) return checked.error();
  if (id->instance != keys_.instance()) {
    return not_found("key_id " + id->text() + " belongs to another instance than " + keys_.instance());
  }
  const auto key = keys_.at(id->version);
  if (key->id != *id) {
    return not_found("key_id " + id->text() + " belongs to another seed; here this version is " +
                     key->id_text);
  }
  auto plaintext = open(*key, ciphertext);
  if (!plaintext) return invalid("ciphertext was not made under key_id " + key->id_text + ", or was changed");
  return *std::move(plaintext);
}

}  // namespace kms::provider
