#include "common/net/timed_action.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace kms {
namespace {

/// Runs the actions of the process that are due.
class Timer {
 public:
  static Timer& instance() {
    static Timer timer;
    return timer;
  }

  [[nodiscard]] std::uint64_t add(SteadyClock::time_point at, std::function<void()> action) {
    const std::lock_guard lock(mutex_);
    actions_.emplace(std::pair(at, ++last_number_), std::move(action));
    changed_.notify_one();
    return last_number_;
  }

  void remove(SteadyClock::time_point at, std::uint64_t number) {
    const std::lock_guard lock(mutex_);
    actions_.erase({at, number});
  }

 private:
  Timer() : thread_([this] { run(); }) {}
  ~Timer() {
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
      if (actions_.empty()) {
        changed_.wait(lock);
      } else if (const auto first = actions_.begin(); first->first.first <= SteadyClock::now()) {
        first->second();  // under the lock, so that its owner exists
        actions_.erase(first);
      } else {
        const auto at = first->first.first;  // a copy: the entry may go while the lock is free
        changed_.wait_until(lock, at);
      }
    }
  }

  std::mutex mutex_;  ///< guards all below
  std::condition_variable changed_;
  std::map<std::pair<SteadyClock::time_point, std::uint64_t>, std::function<void()>>
      actions_;  ///< soonest first
  std::uint64_t last_number_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

TimedAction::TimedAction(SteadyClock::time_point at, std::function<void()> action)
    : at_(at), number_(Timer::instance().add(at, std::move(action))) {}

TimedAction::~TimedAction() { Timer::instance().remove(at_, number_); }

}  // namespace kms
