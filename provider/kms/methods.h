// The methods of KMS v2 and KMS v1, in one form for CallQueue. Each names its messages, the faults and the
// journal's counters that apply to it, and makes its answer by KmsService.
//
// Used on the queue's thread. Nothing here has state.
#pragma once

#include <string>
#include <string_view>

#include "proto/kms_v1.grpc.pb.h"
#include "proto/kms_v2.grpc.pb.h"
#include "provider/faults/plan.h"
#include "provider/journal/journal.h"
#include "provider/kms/service.h"

namespace kms::provider {

/// The generated services, with messages as bytes: gRPC answers a request that does not parse without a
/// trace.
struct GrpcServices {
  using KmsV2 =
      v2::KeyManagementService::WithRawMethod_Status<v2::KeyManagementService::WithRawMethod_Encrypt<
          v2::KeyManagementService::WithRawMethod_Decrypt<v2::KeyManagementService::Service>>>;
  using KmsV1 = v1beta1::KeyManagementService::WithRawMethod_Version<
      v1beta1::KeyManagementService::WithRawMethod_Encrypt<
          v1beta1::KeyManagementService::WithRawMethod_Decrypt<v1beta1::KeyManagementService::Service>>>;
  KmsV2 kms_v2;
  KmsV1 kms_v1;
};

/// The functions that most methods share.
template <class RequestMessage, class ResponseMessage>
struct MethodDefaults {
  using Request = RequestMessage;
  using Response = ResponseMessage;

  static std::string_view uid(const Request&) { return ""; }
  /// The key id by which faults select the call.
  static std::string key_id(const KmsService&, const KeyRing& keys, const Request&) {
    return keys.current()->id_text;
  }
  static std::string_view recorded_key_id(const KmsService&, const Request&, const Response&) { return ""; }
  static void remember_plaintext(Journal&, bool, const Request&, const Response&) {}
  static void wipe_secrets(Request&, Response&) {}
};

struct StatusMethod : MethodDefaults<v2::StatusRequest, v2::StatusResponse> {
  static constexpr const char* name = "Status";
  static constexpr auto service = &GrpcServices::kms_v2;
  static constexpr auto request_call = &GrpcServices::KmsV2::RequestStatus;
  static constexpr auto fault_method = mock_kms::v1::Fault::STATUS;
  static constexpr auto journal_method = Journal::Method::status;

  static Outcome<> answer(const KmsService& service, const FaultDecision& decision, const Request& request,
                          Response& response);
  static void distort_answer(KeyRing& keys, const FaultDecision& decision, const Request& request,
                             Response& response);
  static std::string_view recorded_key_id(const KmsService&, const Request&, const Response& response) {
    return response.key_id();
  }
};

struct EncryptMethod : MethodDefaults<v2::EncryptRequest, v2::EncryptResponse> {
  static constexpr const char* name = "Encrypt";
  static constexpr auto service = &GrpcServices::kms_v2;
  static constexpr auto request_call = &GrpcServices::KmsV2::RequestEncrypt;
  static constexpr auto fault_method = mock_kms::v1::Fault::ENCRYPT;
  static constexpr auto journal_method = Journal::Method::encrypt;

  static Outcome<> answer(const KmsService& service, const FaultDecision& decision, const Request& request,
                          Response& response);
  static void distort_answer(KeyRing& keys, const FaultDecision& decision, const Request& request,
                             Response& response);
  static std::string_view uid(const Request& request) { return request.uid(); }
  static std::string_view recorded_key_id(const KmsService&, const Request&, const Response& response) {
    return response.key_id();
  }
  static void remember_plaintext(Journal& journal, bool ok, const Request& request, const Response& response);
  static void wipe_secrets(Request& request, Response&) { wipe(*request.mutable_plaintext()); }
};

struct DecryptMethod : MethodDefaults<v2::DecryptRequest, v2::DecryptResponse> {
  static constexpr const char* name = "Decrypt";
  static constexpr auto service = &GrpcServices::kms_v2;
  static constexpr auto request_call = &GrpcServices::KmsV2::RequestDecrypt;
  static constexpr auto fault_method = mock_kms::v1::Fault::DECRYPT;
  static constexpr auto journal_method = Journal::Method::decrypt;

  static Outcome<> answer(const KmsService& service, const FaultDecision& decision, const Request& request,
                          Response& response);
  static void distort_answer(KeyRing& keys, const FaultDecision& decision, const Request& request,
                             Response& response);
  static std::string_view uid(const Request& request) { return request.uid(); }
  static std::string key_id(const KmsService&, const KeyRing&, const Request& request) {
    return request.key_id();
  }
  static std::string_view recorded_key_id(const KmsService&, const Request& request, const Response&) {
    return request.key_id();
  }
  static void remember_plaintext(Journal& journal, bool ok, const Request& request, const Response& response);
  static void wipe_secrets(Request&, Response& response) { wipe(*response.mutable_plaintext()); }
};

struct V1VersionMethod : MethodDefaults<v1beta1::VersionRequest, v1beta1::VersionResponse> {
  static constexpr const char* name = "V1Version";
  static constexpr auto service = &GrpcServices::kms_v1;
  static constexpr auto request_call = &GrpcServices::KmsV1::RequestVersion;
  static constexpr auto fault_method = mock_kms::v1::Fault::VERSION;
  static constexpr auto journal_method = Journal::Method::v1_version;

  static Outcome<> answer(const KmsService& service, const FaultDecision& decision, const Request& request,
                          Response& response);
  static void distort_answer(KeyRing& keys, const FaultDecision& decision, const Request& request,
                             Response& response);
};

struct V1EncryptMethod : MethodDefaults<v1beta1::EncryptRequest, v1beta1::EncryptResponse> {
  static constexpr const char* name = "V1Encrypt";
  static constexpr auto service = &GrpcServices::kms_v1;
  static constexpr auto request_call = &GrpcServices::KmsV1::RequestEncrypt;
  static constexpr auto fault_method = mock_kms::v1::Fault::ENCRYPT;
  static constexpr auto journal_method = Journal::Method::v1_encrypt;

  static Outcome<> answer(const KmsService& service, const FaultDecision& decision, const Request& request,
                          Response& response);
  static void distort_answer(KeyRing& keys, const FaultDecision& decision, const Request& request,
                             Response& response);
  static std::string_view recorded_key_id(const KmsService& service, const Request&,
                                          const Response& response) {
    return service.v1_key_id(response.cipher());
  }
  static void remember_plaintext(Journal& journal, bool ok, const Request& request, const Response& response);
  static void wipe_secrets(Request& request, Response&) { wipe(*request.mutable_plain()); }
};

struct V1DecryptMethod : MethodDefaults<v1beta1::DecryptRequest, v1beta1::DecryptResponse> {
  static constexpr const char* name = "V1Decrypt";
  static constexpr auto service = &GrpcServices::kms_v1;
  static constexpr auto request_call = &GrpcServices::KmsV1::RequestDecrypt;
  static constexpr auto fault_method = mock_kms::v1::Fault::DECRYPT;
  static constexpr auto journal_method = Journal::Method::v1_decrypt;

  static Outcome<> answer(const KmsService& service, const FaultDecision& decision, const Request& request,
                          Response& response);
  static void distort_answer(KeyRing& keys, const FaultDecision& decision, const Request& request,
                             Response& response);
  static std::string key_id(const KmsService& service, const KeyRing&, const Request& request) {
    return std::string(service.v1_key_id(request.cipher()));
  }
  static std::string_view recorded_key_id(const KmsService& service, const Request& request,
                                          const Response&) {
    return service.v1_key_id(request.cipher());
  }
  static void remember_plaintext(Journal& journal, bool ok, const Request& request, const Response& response);
  static void wipe_secrets(Request&, Response& response) { wipe(*response.mutable_plain()); }
};

}  // namespace kms::provider
