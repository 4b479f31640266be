// What differs between the three methods of KMS v2, where gRPC's requests become the service's questions.
//
// Included by the server's own files alone; used on the thread that serves the calls. No state. Plaintext in
// a message is wiped when its call ends; what gRPC and the kernel copied of it on the way (slices, socket
// buffers) is out of reach.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "common/crypto/secret_bytes.h"
#include "proto/kms_v2.grpc.pb.h"
#include "provider/faults/effects.h"
#include "provider/journal/journal.h"
#include "provider/server/kms_service.h"

namespace kms::provider {

using AsyncService = v2::KeyManagementService::AsyncService;

struct StatusMethod {
  using Request = v2::StatusRequest;
  using Response = v2::StatusResponse;
  static constexpr const char* name = "Status";
  static constexpr auto arm = &AsyncService::RequestStatus;
  static constexpr auto fault_method = mock_kms::v1::Fault::STATUS;
  static constexpr auto journal_method = Journal::Method::status;

  static std::optional<Refusal> answer(const KmsService& service, const FaultDecision&, const Request&,
                                       Response& response) {
    auto answer = service.status();
    if (auto* refusal = std::get_if<Refusal>(&answer)) return std::move(*refusal);
    auto& status = std::get<StatusAnswer>(answer);
    response.set_version(std::move(status.version));
    response.set_healthz(std::move(status.healthz));
    response.set_key_id(std::move(status.key_id));
    return std::nullopt;
  }
  static void distort_answer(const KmsService& service, const FaultDecision& decision, const Request&,
                             Response& response) {
    distort(decision, service.keys(), response);
  }
  static std::string_view uid(const Request&) { return ""; }
  static std::string key_id(const KmsService& service, const Request&) {
    return service.keys().current()->id_text;
  }
  static std::string_view recorded_key_id(const Request&, const Response& response) {
    return response.key_id();
  }
  static void remember_plaintext(Journal&, bool, const Request&, const Response&) {}
  static void wipe_secrets(Request&, Response&) {}
};

struct EncryptMethod {
  using Request = v2::EncryptRequest;
  using Response = v2::EncryptResponse;
  static constexpr const char* name = "Encrypt";
  static constexpr auto arm = &AsyncService::RequestEncrypt;
  static constexpr auto fault_method = mock_kms::v1::Fault::ENCRYPT;
  static constexpr auto journal_method = Journal::Method::encrypt;

  static std::optional<Refusal> answer(const KmsService& service, const FaultDecision& decision,
                                       const Request& request, Response& response) {
    auto answer = service.encrypt(
        request.uid(), bytes_of(request.plaintext()),
        has_violation(decision, mock_kms::v1::Fault::KEY_ID_DISAGREES),
        has_violation(decision, mock_kms::v1::Fault::CIPHERTEXT_REPEATED) ? Nonce::zero : Nonce::fresh);
    if (auto* refusal = std::get_if<Refusal>(&answer)) return std::move(*refusal);
    auto& sealed = std::get<EncryptAnswer>(answer);
    response.set_ciphertext(std::move(sealed.ciphertext));
    response.set_key_id(std::move(sealed.key_id));
    for (auto& [key, value] : sealed.annotations) (*response.mutable_annotations())[key] = std::move(value);
    return std::nullopt;
  }
  static void distort_answer(const KmsService&, const FaultDecision& decision, const Request& request,
                             Response& response) {
    distort(decision, request, response);
  }
  static std::string_view uid(const Request& request) { return request.uid(); }
  static std::string key_id(const KmsService& service, const Request&) {
    return service.keys().current()->id_text;
  }
  static std::string_view recorded_key_id(const Request&, const Response& response) {
    return response.key_id();
  }
  static void remember_plaintext(Journal& journal, bool, const Request& request, const Response&) {
    journal.remember(journal_method, request.uid(), bytes_of(request.plaintext()));
  }
  static void wipe_secrets(Request& request, Response&) { wipe(*request.mutable_plaintext()); }
};

struct DecryptMethod {
  using Request = v2::DecryptRequest;
  using Response = v2::DecryptResponse;
  static constexpr const char* name = "Decrypt";
  static constexpr auto arm = &AsyncService::RequestDecrypt;
  static constexpr auto fault_method = mock_kms::v1::Fault::DECRYPT;
  static constexpr auto journal_method = Journal::Method::decrypt;

  static std::optional<Refusal> answer(const KmsService& service, const FaultDecision& decision,
                                       const Request& request, Response& response) {
    DecryptQuestion question{bytes_of(request.ciphertext()), request.key_id(), {}};
    question.annotations.insert(request.annotations().begin(), request.annotations().end());
    auto answer = service.decrypt(question);
    if (auto* refusal = std::get_if<Refusal>(&answer)) {
      if (!has_violation(decision, mock_kms::v1::Fault::GARBAGE_DECRYPTED)) return std::move(*refusal);
      response.set_plaintext("garbage");
      return std::nullopt;
    }
    response.set_plaintext(std::string(text_of(std::get<SecretBytes>(answer).view())));
    return std::nullopt;
  }
  static void distort_answer(const KmsService&, const FaultDecision& decision, const Request&,
                             Response& response) {
    distort(decision, response);
  }
  static std::string_view uid(const Request& request) { return request.uid(); }
  static std::string key_id(const KmsService&, const Request& request) { return request.key_id(); }
  static std::string_view recorded_key_id(const Request& request, const Response&) {
    return request.key_id();
  }
  static void remember_plaintext(Journal& journal, bool ok, const Request& request,
                                 const Response& response) {
    if (ok) journal.remember(journal_method, request.uid(), bytes_of(response.plaintext()));
  }
  static void wipe_secrets(Request&, Response& response) { wipe(*response.mutable_plaintext()); }
};

}  // namespace kms::provider
