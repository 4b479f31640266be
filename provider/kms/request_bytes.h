// Reads the bytes of a request: compressed or not, and within the size that gRPC's servers accept.
//
// Callable from any thread. gRPC's filters that inflate and that check the size are not in the server's stack
// (kms/server.cc): they cost each call 5 %, and they answer without a trace in the journal.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstddef>

namespace kms::provider {

enum class RequestBytes { parsed, malformed, too_large };

inline constexpr std::size_t max_request = std::size_t{4} << 20U;

[[nodiscard]] RequestBytes read_request(grpc::ByteBuffer& bytes, google::protobuf::MessageLite& request);

}  // namespace kms::provider
