#include "supervisor/probe/call.h"

namespace kms::supervisor {

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

}  // namespace kms::supervisor
