#include "provider/server/kms_service.h"

#include <algorithm>
#include <optional>

namespace kms::provider {
namespace {

constexpr std::string_view format_annotation = "format.mock-kms.test";

Refusal invalid(std::string message) { return {RefusalCode::invalid_argument, std::move(message)}; }

Annotations own_annotations() { return {{std::string(format_annotation), std::string(seal_format)}}; }

/// Names what differs; the values are stored in plaintext by the API server, so showing them gives nothing
/// away.
std::optional<Refusal> refuse_annotations(const Annotations& annotations) {
  const auto format = annotations.find(format_annotation);
  if (format == annotations.end())
    return invalid("annotation " + std::string(format_annotation) + " is missing");
  if (format->second != seal_format) {
    return invalid("annotation " + std::string(format_annotation) + " is not \"" + std::string(seal_format) +
                   "\", the only format known here");
  }
  if (annotations.size() > 1) return invalid("there is an annotation that Encrypt did not give");
  return std::nullopt;
}

}  // namespace

Answer<StatusAnswer> KmsService::status() const {
  constexpr std::string_view canary = "mock-kms-provider self-test";
  const auto key = keys_.current();
  const auto opened = open(*key, bytes_of(seal(*key, bytes_of(canary))));
  if (!opened || text_of(opened->view()) != canary) {
    return Refusal{RefusalCode::internal, "the self-test under " + key->id_text + " failed"};
  }
  return StatusAnswer{"v2", "ok", key->id_text};
}

Answer<EncryptAnswer> KmsService::encrypt(std::string_view uid, Bytes plaintext, bool ahead,
                                          Nonce nonce) const {
  if (uid.empty()) return invalid("uid is empty");
  auto key = keys_.current();
  if (ahead) key = keys_.at(another_version(key->id.version));
  return EncryptAnswer{seal(*key, plaintext, nonce), key->id_text, own_annotations()};
}

Answer<SecretBytes> KmsService::decrypt(const DecryptQuestion& question) const {
  if (question.ciphertext.empty()) return invalid("ciphertext is empty");
  if (question.ciphertext.size() < seal_overhead) {
    return invalid("ciphertext has " + std::to_string(question.ciphertext.size()) + " bytes; the least is " +
                   std::to_string(seal_overhead));
  }
  const auto id = KeyId::parse(question.key_id);
  if (!id) return invalid("key_id is not of the form <instance>/v<version>/<8 hex digits>");
  if (auto refusal = refuse_annotations(question.annotations)) return *refusal;
  if (id->instance != keys_.instance()) {
    return Refusal{RefusalCode::not_found,
                   "key_id " + id->text() + " belongs to another instance than " + keys_.instance()};
  }
  const auto key = keys_.at(id->version);
  if (key->id != *id) {
    return Refusal{RefusalCode::not_found,
                   "key_id " + id->text() + " belongs to another seed; here this version is " + key->id_text};
  }
  auto plaintext = open(*key, question.ciphertext);
  if (!plaintext) return invalid("ciphertext was not made under key_id " + key->id_text + ", or was changed");
  return std::move(*plaintext);
}

}  // namespace kms::provider
