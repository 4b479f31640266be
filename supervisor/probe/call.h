// CallQueue is the one thread on which the outcomes of RPCs arrive.
//
// Owned by the loop's owner, made before and destroyed after all that start calls on it. gRPC's callback API
// is not used for calls: its global queue joins itself when the last channel dies on its own thread (1.51).
#pragma once

#include <grpcpp/completion_queue.h>

#include <atomic>
#include <thread>

namespace kms::supervisor {

/// One call under way, the queue's tag.
class QueuedCall {
 public:
  QueuedCall() = default;
  QueuedCall(const QueuedCall&) = delete;
  QueuedCall& operator=(const QueuedCall&) = delete;
  virtual ~QueuedCall() = default;

  /// The call is over. On the queue's thread, once; the object may delete itself.
  virtual void finished() = 0;

 protected:
  /// To be called before the first call begins: from there on the object is the queue's thread's. gRPC orders
  /// the two as well, but by locks that ThreadSanitizer does not see.
  void hand_over() { handed_over_.store(true, std::memory_order_release); }

 private:
  friend class CallQueue;

  std::atomic<bool> handed_over_ = false;
};

class CallQueue {
 public:
  CallQueue();
  CallQueue(const CallQueue&) = delete;
  CallQueue& operator=(const CallQueue&) = delete;

  /// Waits for the end of all calls under way: cancel them first.
  ~CallQueue();

  [[nodiscard]] grpc::CompletionQueue* queue() { return &queue_; }

 private:
  grpc::CompletionQueue queue_;
  std::thread thread_;
};

}  // namespace kms::supervisor
