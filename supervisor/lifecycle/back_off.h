// BackOff says how long to wait before the next start: none after a first death, then doubling up to a cap.
//
// Pure: no clock, no log; the jitter's randomness is seeded by the owner (Lifecycle). One thread.
#pragma once

#include <cstdint>
#include <random>

#include "common/text/time.h"

namespace kms::supervisor {

struct BackOffPolicy {
  Duration initial = std::chrono::milliseconds(100);  ///< the second start's wait, before jitter
  Duration cap =
      std::chrono::seconds(10);  ///< far below the API server's write lease of 180 s (contract, rule 33)
  Duration stable_after = std::chrono::seconds(30);  ///< a life this long is a success and starts anew
};

class BackOff {
 public:
  BackOff(BackOffPolicy policy, std::uint32_t seed) : policy_(policy), random_(seed) {}

  /// The wait after a process that was ready (or not) and lived for `lived`: 0, or 50-100 % of initial x 2^n,
  /// at most the cap. Jitter keeps the control planes of a cluster from retrying in step.
  [[nodiscard]] Duration next(bool was_ready, Duration lived);

 private:
  BackOffPolicy policy_;
  std::minstd_rand random_;
  unsigned deaths_in_a_row_ = 0;
};

}  // namespace kms::supervisor
