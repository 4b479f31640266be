// Which connection a call came on. gRPC does not say: every client of a Unix socket has the same peer name.
#pragma once

#include <grpc/grpc.h>

#include <cstdint>

namespace kms::provider {

/// The number of a server call's connection; 0 where gRPC tells connections apart no longer. A connection has
/// one at its first call: the next of `count`, which is of one server. All calls of a server ask on one
/// thread.
///
/// gRPC 1.51 makes one auth context per connection, for insecure credentials too, and hands it to each of its
/// calls; the number is kept there, as a property.
[[nodiscard]] std::uint64_t connection_number(grpc_call* call, std::uint64_t& count);

}  // namespace kms::provider
