// Faults shares one FaultPlan between threads: it adds the clock, a lock and the memory that faults take.
//
// Any thread. A call asks any() first, which is one atomic load: the whole cost of a provider without faults.
#pragma once

#include <atomic>
#include <mutex>

#include "provider/faults/plan.h"

namespace kms::provider {

class Faults {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Faults(FaultPlan plan) : plan_(std::move(plan)) {}

  [[nodiscard]] bool any() const { return any_.load(std::memory_order_relaxed); }

  /// The fault's time counts from `since`.
  mock_kms::v1::AddFaultReply add(mock_kms::v1::Fault fault, FaultPlan::Origin origin,
                                  Clock::time_point since) {
    const std::lock_guard lock(mutex_);
    auto reply = plan_.add(std::move(fault), since, origin);
    after_change();
    return reply;
  }
  mock_kms::v1::AddFaultReply add(mock_kms::v1::Fault fault) {
    return add(std::move(fault), mock_kms::v1::FaultUse::COMMAND, Clock::now());
  }
  std::uint32_t clear(std::string_view name, FaultPlan::Origin origin = mock_kms::v1::FaultUse::COMMAND) {
    const std::lock_guard lock(mutex_);
    const auto cleared = plan_.clear(name, origin);
    after_change();
    return cleared;
  }
  void declare(const std::vector<mock_kms::v1::Fault>& faults, FaultPlan::Origin origin) {
    const std::lock_guard lock(mutex_);
    plan_.declare(faults, Clock::now(), origin);
    after_change();
  }
  [[nodiscard]] mock_kms::v1::FaultList list() const {
    const std::lock_guard lock(mutex_);
    return plan_.list(Clock::now());
  }
  /// The faults whose time has passed, each once.
  [[nodiscard]] std::vector<FaultPlan::Ended> take_ended() {
    if (!any()) return {};
    const std::lock_guard lock(mutex_);
    return plan_.take_ended(Clock::now());
  }
  [[nodiscard]] FaultDecision decide(const IncomingCall& question) {
    const std::lock_guard lock(mutex_);
    return plan_.decide(question, Clock::now());
  }

  /// Takes memory, up to `max_mib` in total. It is freed when no fault grows memory any more.
  void grow(std::uint32_t mib, std::uint32_t max_mib) {
    const std::lock_guard lock(mutex_);
    while (mib-- > 0 && ballast_.size() < max_mib) ballast_.emplace_back(one_mib, '\1');
  }

 private:
  static constexpr std::size_t one_mib = std::size_t{1} << 20U;

  void after_change() {
    any_ = plan_.any();
    if (!plan_.grows_memory()) ballast_.clear();
  }

  mutable std::mutex mutex_;  ///< guards all below
  FaultPlan plan_;
  std::vector<std::string> ballast_;  ///< 1 MiB each, every page of it in use
  std::atomic<bool> any_ = false;
};

}  // namespace kms::provider
