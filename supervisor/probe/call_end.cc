#include "supervisor/probe/call_end.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace kms::supervisor {
namespace {

/// What gRPC's transport (core's chttp2_transport.cc) puts in the place of a status where the connection was
/// lost under a call, or carried something else than HTTP/2.
bool is_broken_connection(const grpc::Status& status) {
  using Code = grpc::StatusCode;
  static const std::array<std::pair<Code, std::string_view>, 6> texts{{
      {Code::UNAVAILABLE, "Socket closed"},
      {Code::UNAVAILABLE, "Broken pipe"},
      {Code::UNAVAILABLE, "Connection reset by peer"},
      {Code::UNAVAILABLE, "Transport closed"},
      {Code::INTERNAL, "Trying to connect an http1.x server"},
      {Code::UNKNOWN, "Stream removed"},
  }};
  return std::any_of(texts.begin(), texts.end(), [&](const auto& text) {
    return status.error_code() == text.first && status.error_message() == text.second;
  });
}

/// Core's message_size_filter.cc, of an answer that is larger than this side takes.
bool is_too_large(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED &&
         status.error_message().starts_with("Received message larger than max");
}

/// An error status comes either from the plugin, which is then alive, or from gRPC's own client side. Only
/// the text tells: core's call.cc writes "Error received from peer" into the debug string of what came over a
/// connection. A deadline that passed here may carry it as well, so that one is told by the clock.
bool sent_by_peer(const grpc::ClientContext& context) {
  return context.debug_error_string().find("Error received from peer") != std::string::npos;
}

}  // namespace

CallEnd end_of_call(const grpc::ClientContext& context, const grpc::Status& status, Duration took,
                    Duration timeout) {
  if (status.ok()) return CallEnd::answered;
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED && took >= timeout) return CallEnd::silent;
  if (is_broken_connection(status)) return CallEnd::broken;
  return sent_by_peer(context) && !is_too_large(status) ? CallEnd::refused : CallEnd::failed_here;
}

}  // namespace kms::supervisor
