// Asks mock-kms-provider on its own control socket. Other plugins have no such socket, and a hung one does
// not answer in time: then nothing is added.
//
// Safe from any thread. Each function opens a connection and waits for its answers.
#pragma once

#include <string>
#include <vector>

#include "proto/provider_control.pb.h"
#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

/// Adds the injected faults and the state of --config to `status`. Waits at most a second.
void add_provider_report(mock_kms::v1::SupervisorStatus& status);

/// Adds the journal and the counters. `control` is the provider's control endpoint. Waits at most 4 s. False
/// if the provider did not answer.
[[nodiscard]] bool read_provider_calls(const std::string& control,
                                       std::vector<mock_kms::v1::CallRecord>& journal,
                                       std::vector<mock_kms::v1::CallCount>& counts);

}  // namespace kms::supervisor
