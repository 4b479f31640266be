#include "common/net/grpc_status.h"

#include <absl/status/status.h>

namespace kms {

std::string describe(const grpc::Status& status) {
  const int code = status.error_code();  // gRPC's and Abseil's are the same numbers
  std::string name(absl::StatusCodeToString(static_cast<absl::StatusCode>(code)));
  if (name.empty()) name = "code " + std::to_string(code);
  return status.error_message().empty() ? name : name + ": " + status.error_message();
}

}  // namespace kms
