// Where an instance's control service listens. Pure functions, safe from any thread.
//
// Beside its KMS socket, so that instances have one each and whoever knows the one socket knows the other:
// /run/kms.sock.control for /run/kms.sock, @name.control for @name.
#pragma once

#include <string>

#include "common/net/endpoint.h"

namespace kms::provider {

/// `control` is an endpoint, or empty for the one beside `kms_socket`. A Error names the option to change.
[[nodiscard]] Outcome<Endpoint> control_endpoint(const std::string& control, const std::string& kms_socket);

}  // namespace kms::provider
