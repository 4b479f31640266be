// Runs calls to a plugin, and classifies how they end.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/support/status.h>

#include <atomic>
#include <thread>

#include "common/net/call_deadline.h"

namespace kms::supervisor {

/// A call in progress. It is the tag of the CallQueue.
class QueuedCall {
 public:
  QueuedCall() = default;
  QueuedCall(const QueuedCall&) = delete;
  QueuedCall& operator=(const QueuedCall&) = delete;
  virtual ~QueuedCall() = default;

  /// Called once when the call is over, on the queue's thread. The object may delete itself.
  virtual void finished() = 0;

 protected:
  /// Hands the object to the queue's thread. Call it before the first call starts. gRPC orders the two
  /// threads too, but by locks that ThreadSanitizer does not see.
  void hand_over() { handed_over_.store(true, std::memory_order_release); }

 private:
  friend class CallQueue;

  std::atomic<bool> handed_over_ = false;
};

/// Runs the thread on which the results of calls arrive.
///
/// It must outlive everything that starts calls on it. gRPC's callback API is not used for calls: its global
/// queue joins itself when the last channel dies on the queue's own thread (1.51).
class CallQueue {
 public:
  CallQueue();
  CallQueue(const CallQueue&) = delete;
  CallQueue& operator=(const CallQueue&) = delete;

  /// Waits for the end of all calls: cancel them first.
  ~CallQueue();

  [[nodiscard]] grpc::CompletionQueue* queue() { return &queue_; }

 private:
  grpc::CompletionQueue queue_;
  std::thread thread_;
};

/// The end of a call. gRPC's status alone does not tell: an error may come from the plugin or from this side.
enum class CallEnd {
  answered,
  refused,      ///< the plugin answered with an error status
  timed_out,    ///< the deadline passed
  broken,       ///< the connection was lost during the call
  failed_here,  ///< gRPC's client gave up: it found no connection or could not read the answer
};

/// Call it when the call has just ended.
[[nodiscard]] CallEnd end_of_call(const grpc::ClientContext& context, const grpc::Status& status,
                                  const CallDeadline& deadline);

}  // namespace kms::supervisor
