// BackOff says how long to wait before the next try: twice as long each time, with chance in it, so that many
// builders that lost the same server do not come back at the same instant.
//
// Pure but for its chance; used on one thread.
#pragma once

#include <algorithm>
#include <random>

#include "common/text/time.h"

namespace kms::builder {

class BackOff {
 public:
  static constexpr Duration first = std::chrono::milliseconds(500);
  static constexpr Duration longest = std::chrono::seconds(30);

  explicit BackOff(std::uint32_t seed = std::random_device{}()) : chance_(seed) {}

  /// Between half of the full wait and all of it; the full wait is `first`, doubled with each call, at most
  /// `longest`.
  [[nodiscard]] Duration next() {
    std::uniform_int_distribution<Duration::rep> part(full_.count() / 2, full_.count());
    full_ = std::min(full_ * 2, longest);
    return Duration(part(chance_));
  }

 private:
  std::mt19937 chance_;
  Duration full_ = first;
};

}  // namespace kms::builder
