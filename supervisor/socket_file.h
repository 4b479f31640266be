// The plugin's socket as `status` shows it: is it there, whose is it, who may open it. Reads the file system.
#pragma once

#include "proto/endpoint.h"
#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

/// Owner and mode as `ls -l` has them; an abstract socket has neither. `present` is whether something listens
/// or lies there, not whether it answers: probes tell that.
[[nodiscard]] mock_kms::v1::Socket describe_socket(const Endpoint& endpoint);

}  // namespace kms::supervisor
