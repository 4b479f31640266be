// What faults do to answers and to the process.
//
// Functions; the answers' are pure. distort() is called on the thread that serves the call, after the true
// answer was made. apply_process_faults() may not return.
#pragma once

#include "proto/kms_v2.pb.h"
#include "provider/faults/plan.h"
#include "provider/keys/key_ring.h"

namespace kms::provider {

/// Changes a true answer as the decision says; `keys` names the versions that are not current.
void distort(const FaultDecision& decision, KeyRing& keys, v2::StatusResponse& response);
void distort(const FaultDecision& decision, const v2::EncryptRequest& request, v2::EncryptResponse& response);
void distort(const FaultDecision& decision, v2::DecryptResponse& response);

/// Whether the call is to show this violation; for those that are not a change of the true answer.
[[nodiscard]] bool has_violation(const FaultDecision& decision, mock_kms::v1::Fault::Violation violation);

/// Ends or stops the process, where the decision says so.
void apply_process_faults(const FaultDecision& decision);

}  // namespace kms::provider
