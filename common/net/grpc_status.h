// Describes a gRPC status by the name of its code.
#pragma once

#include <grpcpp/support/status.h>

#include <string>

namespace kms {

/// "FAILED_PRECONDITION: key disabled", or "NOT_FOUND" if there is no message.
[[nodiscard]] std::string describe(const grpc::Status& status);

}  // namespace kms
