#include "supervisor/lifecycle/back_off.h"

#include <algorithm>

namespace kms::supervisor {

Duration BackOff::next(bool was_ready, Duration lived) {
  if (was_ready && lived >= policy_.stable_after) deaths_in_a_row_ = 0;
  const unsigned earlier = deaths_in_a_row_++;
  if (earlier == 0) return Duration{0};
  Duration wait = std::min(policy_.initial, policy_.cap);
  for (unsigned i = 1; i < earlier && wait < policy_.cap; ++i) wait = std::min(wait * 2, policy_.cap);
  const double share = std::uniform_real_distribution<double>(0.5, 1.0)(random_);
  return Duration{static_cast<Duration::rep>(static_cast<double>(wait.count()) * share)};
}

}  // namespace kms::supervisor
