// One call to a running KMS v2 plugin, any plugin. One thread, blocking.
#pragma once

#include <grpcpp/create_channel_posix.h>

#include <chrono>
#include <string>

#include "common/cli/exit_code.h"
#include "common/io/fd.h"
#include "common/net/grpc_status.h"
#include "common/text/escape.h"
#include "common/text/time.h"
#include "proto/kms_v2.grpc.pb.h"
#include "provider/commands/unanswered.h"

namespace kms::provider {

/// Connects by itself, so that the cause is connect(2)'s own and no back-off stretches it. Throws Unanswered.
[[nodiscard]] UniqueFd connect_to_plugin(const std::string& socket);

/// `method` is a member of the stub, `name` its name for people. Throws Unanswered where no answer comes
/// within `timeout`, or an error.
template <class Request, class Response>
[[nodiscard]] Response call_plugin(
    const std::string& socket, Duration timeout, const char* name, const Request& request,
    grpc::Status (v2::KeyManagementService::Stub::*method)(grpc::ClientContext*, const Request&, Response*)) {
  // "localhost" becomes the :authority, as the API server sends it.
  v2::KeyManagementService::Stub stub(
      grpc::CreateInsecureChannelFromFd("localhost", connect_to_plugin(socket).release()));
  grpc::ClientContext context;
  const auto deadline = std::chrono::system_clock::now() + timeout;
  context.set_deadline(deadline);
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (status.ok()) return response;
  if (status.error_code() == grpc::DEADLINE_EXCEEDED && std::chrono::system_clock::now() >= deadline) {
    throw Unanswered{exit_code::unreachable,
                     std::string(name) + ": no answer on " + socket + " within " + human_duration(timeout)};
  }
  throw Unanswered{exit_code::failed, std::string(name) + ": " + visible_text(describe(status))};
}

}  // namespace kms::provider
