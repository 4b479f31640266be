#include "supervisor/probe/call.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace kms::supervisor {
namespace {

/// gRPC's transport (core's chttp2_transport.cc) reports these if the connection is lost during a call or
/// carries something other than HTTP/2.
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

/// Core's message_size_filter.cc reports this if an answer is larger than the client accepts.
bool is_too_large(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED &&
         status.error_message().starts_with("Received message larger than max");
}

/// True if the error status came from the plugin, which is then alive, and not from gRPC's client. Only the
/// text tells: core's call.cc writes "Error received from peer" into the debug string of a received status. A
/// local deadline may carry it too, so end_of_call() checks the clock first.
bool sent_by_peer(const grpc::ClientContext& context) {
  return context.debug_error_string().find("Error received from peer") != std::string::npos;
}

}  // namespace

CallQueue::CallQueue()
    : thread_([this] {
        void* tag = nullptr;
        bool ok = false;
        while (queue_.Next(&tag, &ok)) {
          auto* call = static_cast<QueuedCall*>(tag);
          static_cast<void>(call->handed_over_.load(std::memory_order_acquire));
          call->finished();
        }
      }) {}

CallQueue::~CallQueue() {
  queue_.Shutdown();
  thread_.join();
}

CallEnd end_of_call(const grpc::ClientContext& context, const grpc::Status& status,
                    const CallDeadline& deadline) {
  if (status.ok()) return CallEnd::answered;
  if (deadline.ended(status)) return CallEnd::timed_out;
  if (is_broken_connection(status)) return CallEnd::broken;
  return sent_by_peer(context) && !is_too_large(status) ? CallEnd::refused : CallEnd::failed_here;
}

}  // namespace kms::supervisor
