// gRPC status codes by the names that users and metrics know. Pure.
#pragma once

#include <grpcpp/support/status.h>

#include <string>

namespace kms {

/// "FAILED_PRECONDITION: key disabled", "NOT_FOUND" where there is no message.
[[nodiscard]] std::string describe(const grpc::Status& status);

}  // namespace kms
