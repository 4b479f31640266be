#include "provider/kms/methods.h"

#include "provider/faults/effects.h"

namespace kms::provider {

using mock_kms::v1::Fault;

namespace {

SealOptions seal_options(const FaultDecision& decision) {
  return {!has_violation(decision, Fault::KEY_ID_DISAGREES),
          has_violation(decision, Fault::CIPHERTEXT_REPEATED) ? Nonce::zero : Nonce::fresh};
}

/// The plaintext that was opened, or garbage if a fault wants it.
Outcome<> answer_decrypt(const FaultDecision& decision, const Outcome<SecretBytes>& opened,
                         std::string& plaintext) {
  if (opened) {
    plaintext = text_of(opened->view());
  } else if (has_violation(decision, Fault::GARBAGE_DECRYPTED)) {
    plaintext = "garbage";
  } else {
    return opened.error();
  }
  return {};
}

}  // namespace

Outcome<> StatusMethod::answer(const KmsService& service, const FaultDecision&, const Request&,
                               Response& response) {
  auto status = service.status();
  if (!status) return status.error();
  response.set_version(std::move(status->version));
  response.set_healthz(std::move(status->healthz));
  response.set_key_id(std::move(status->key_id));
  return {};
}

void StatusMethod::distort_answer(KeyRing& keys, const FaultDecision& decision, const Request&,
                                  Response& response) {
  distort(decision, keys, response);
}

Outcome<> EncryptMethod::answer(const KmsService& service, const FaultDecision& decision,
                                const Request& request, Response& response) {
  auto sealed = service.encrypt(request.uid(), bytes_of(request.plaintext()), seal_options(decision));
  if (!sealed) return sealed.error();
  response.set_ciphertext(std::move(sealed->ciphertext));
  response.set_key_id(std::move(sealed->key_id));
  for (auto& [key, value] : sealed->annotations) {
    (*response.mutable_annotations())[key] = std::move(value);
  }
  return {};
}

void EncryptMethod::distort_answer(KeyRing&, const FaultDecision& decision, const Request& request,
                                   Response& response) {
  distort(decision, request, response);
}

void EncryptMethod::remember_plaintext(Journal& journal, bool, const Request& request, const Response&) {
  journal.remember(Journal::Method::encrypt, request.uid(), bytes_of(request.plaintext()));
}

Outcome<> DecryptMethod::answer(const KmsService& service, const FaultDecision& decision,
                                const Request& request, Response& response) {
  return answer_decrypt(decision,
                        service.decrypt({bytes_of(request.ciphertext()),
                                         request.key_id(),
                                         {request.annotations().begin(), request.annotations().end()},
                                         request.uid()}),
                        *response.mutable_plaintext());
}

void DecryptMethod::distort_answer(KeyRing&, const FaultDecision& decision, const Request&,
                                   Response& response) {
  distort_plaintext(decision, *response.mutable_plaintext());
}

void DecryptMethod::remember_plaintext(Journal& journal, bool ok, const Request& request,
                                       const Response& response) {
  if (ok) journal.remember(Journal::Method::decrypt, request.uid(), bytes_of(response.plaintext()));
}

Outcome<> V1VersionMethod::answer(const KmsService& service, const FaultDecision&, const Request&,
                                  Response& response) {
  const VersionAnswer version = service.v1_version();
  response.set_version(version.version);
  response.set_runtime_name(version.runtime_name);
  response.set_runtime_version(version.runtime_version);
  return {};
}

void V1VersionMethod::distort_answer(KeyRing&, const FaultDecision& decision, const Request&,
                                     Response& response) {
  if (decision.version) response.set_version(*decision.version);
}

Outcome<> V1EncryptMethod::answer(const KmsService& service, const FaultDecision& decision,
                                  const Request& request, Response& response) {
  auto cipher = service.v1_encrypt(bytes_of(request.plain()), seal_options(decision));
  if (!cipher) return cipher.error();
  response.set_cipher(*std::move(cipher));
  return {};
}

void V1EncryptMethod::distort_answer(KeyRing&, const FaultDecision& decision, const Request& request,
                                     Response& response) {
  distort_ciphertext(decision, request.plain(), *response.mutable_cipher());
}

void V1EncryptMethod::remember_plaintext(Journal& journal, bool, const Request& request, const Response&) {
  journal.remember(Journal::Method::encrypt, "", bytes_of(request.plain()));
}

Outcome<> V1DecryptMethod::answer(const KmsService& service, const FaultDecision& decision,
                                  const Request& request, Response& response) {
  return answer_decrypt(decision, service.v1_decrypt(bytes_of(request.cipher())), *response.mutable_plain());
}

void V1DecryptMethod::distort_answer(KeyRing&, const FaultDecision& decision, const Request&,
                                     Response& response) {
  distort_plaintext(decision, *response.mutable_plain());
}

void V1DecryptMethod::remember_plaintext(Journal& journal, bool ok, const Request&,
                                         const Response& response) {
  if (ok) journal.remember(Journal::Method::decrypt, "", bytes_of(response.plain()));
}

}  // namespace kms::provider
