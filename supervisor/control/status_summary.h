// Several instances' statuses as one. Pure.
#pragma once

#include <vector>

#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

/// The only one itself; of several a summary that lists them: healthy and ready where all are, the state and
/// the reason of the first that is worst off, restarts in sum.
[[nodiscard]] mock_kms::v1::SupervisorStatus summary_of(
    std::vector<mock_kms::v1::SupervisorStatus> instances);

}  // namespace kms::supervisor
