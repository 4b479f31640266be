// Effects of a FaultDecision: on the answer to a call, and on the process.
//
// Called on the thread that serves the call, after the true answer was made.
#pragma once

#include <string>

#include "proto/kms_v2.pb.h"
#include "provider/faults/plan.h"
#include "provider/keys/key_ring.h"

namespace kms::provider {

/// Changes a true answer. `keys` has the versions that are not current.
void distort(const FaultDecision& decision, KeyRing& keys, v2::StatusResponse& response);
void distort(const FaultDecision& decision, const v2::EncryptRequest& request, v2::EncryptResponse& response);
void distort_ciphertext(const FaultDecision& decision, const std::string& plaintext, std::string& ciphertext);
void distort_plaintext(const FaultDecision& decision, std::string& plaintext);

/// True if the decision has this violation. For violations that change the call rather than its answer.
[[nodiscard]] bool has_violation(const FaultDecision& decision, mock_kms::v1::Fault::Violation violation);

/// Stops or ends the process if the decision says so. May not return.
void apply_process_faults(const FaultDecision& decision);

}  // namespace kms::provider
