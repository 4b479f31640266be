#include "common/net/call_deadline.h"

#include <grpc/support/time.h>
#include <grpcpp/support/time.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace kms {
namespace {

using Clock = std::chrono::steady_clock;

/// Cancels the calls whose time is over. One for the process; its thread starts with the first call.
class CallTimer {
 public:
  static CallTimer& instance() {
    static CallTimer timer;
    return timer;
  }

  [[nodiscard]] std::uint64_t add(Clock::time_point until, grpc::ClientContext& context) {
    const std::lock_guard lock(mutex_);
    calls_.emplace(std::pair(until, ++last_number_), &context);
    changed_.notify_one();
    return last_number_;
  }

  void remove(Clock::time_point until, std::uint64_t number) {
    const std::lock_guard lock(mutex_);
    calls_.erase({until, number});
  }

 private:
  CallTimer() : thread_([this] { run(); }) {}
  ~CallTimer() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      changed_.notify_one();
    }
    thread_.join();
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      if (calls_.empty()) {
        changed_.wait(lock);
      } else if (const auto first = calls_.begin(); first->first.first <= Clock::now()) {
        first->second->TryCancel();  // under the lock, so that the context exists
        calls_.erase(first);
      } else {
        const auto until = first->first.first;  // a copy: the entry may go while the lock is free
        changed_.wait_until(lock, until);
      }
    }
  }

  std::mutex mutex_;  ///< guards all below
  std::condition_variable changed_;
  std::map<std::pair<Clock::time_point, std::uint64_t>, grpc::ClientContext*> calls_;  ///< soonest first
  std::uint64_t last_number_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

CallDeadline::CallDeadline(grpc::ClientContext& context, Duration timeout)
    : until_(Clock::now() + timeout), number_(CallTimer::instance().add(until_, context)) {
  context.set_deadline(
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(timeout.count(), GPR_TIMESPAN)));
}

CallDeadline::~CallDeadline() { CallTimer::instance().remove(until_, number_); }

bool CallDeadline::ended(const grpc::Status& status) const {
  const auto code = status.error_code();
  return (code == grpc::StatusCode::DEADLINE_EXCEEDED || code == grpc::StatusCode::CANCELLED) &&
         Clock::now() >= until_;
}

}  // namespace kms
