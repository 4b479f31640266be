// The termination message of a supervisor that ends on its own: why each plugin failed, in the 4096 bytes
// that Kubernetes keeps.
#pragma once

#include <string>
#include <vector>

#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

/// An instance that failed, by its last exit.
struct FailedInstance {
  unsigned number;  ///< 0 if it is the only one
  const mock_kms::v1::Exit* exit;
};

/// The causes come first; instances with the same cause share a line. The rest holds their last lines.
[[nodiscard]] std::string termination_message(const std::vector<FailedInstance>& failed);

}  // namespace kms::supervisor
