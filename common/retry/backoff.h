// Backoff computes the waits between tries: each is twice as long as the one before, up to a cap, with
// jitter, so that clients that failed together do not come back together.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace kms {

class Backoff {
 public:
  using Duration = std::chrono::nanoseconds;

  Backoff(Duration initial, Duration cap, std::uint32_t seed)
      : initial_(std::min(initial, cap)), cap_(cap), next_(initial_), random_(seed) {}

  /// 50 to 100 % of the full wait. The full wait is `initial` at first and doubles with each call up to
  /// `cap`.
  [[nodiscard]] Duration next() {
    const Duration full = next_;
    next_ = full > cap_ / 2 ? cap_ : full * 2;
    const double share = std::uniform_real_distribution<double>(0.5, 1.0)(random_);
    return Duration{static_cast<Duration::rep>(static_cast<double>(full.count()) * share)};
  }

  /// The next wait is about `initial` again.
  void reset() { next_ = initial_; }

 private:
  Duration initial_;
  Duration cap_;
  Duration next_;
  std::minstd_rand random_;
};

}  // namespace kms
