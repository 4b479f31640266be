// How a call to a plugin ended, which gRPC's status alone does not tell: an error may be the plugin's own or
// this side's. A pure function, safe from any thread.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include "common/text/time.h"

namespace kms::supervisor {

enum class CallEnd {
  answered,
  refused,      ///< the plugin answered with an error status
  silent,       ///< the deadline passed
  broken,       ///< the connection was lost under the call
  failed_here,  ///< gRPC's client gave up: no connection, an answer that it cannot take
};

/// `took` is how long the call lasted, `timeout` how long it was allowed to.
[[nodiscard]] CallEnd end_of_call(const grpc::ClientContext& context, const grpc::Status& status,
                                  Duration took, Duration timeout);

}  // namespace kms::supervisor
