// Quantiles of measured values.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace kms::bench {

/// The smallest value that at least `share` (0..1] of all are not above; 0 if there is none. Reorders
/// `values`.
inline double quantile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  const auto rank = static_cast<std::size_t>(share * static_cast<double>(values.size()) + 0.999999);
  const std::size_t index = std::clamp<std::size_t>(rank, 1, values.size()) - 1;
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(index);
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

}  // namespace kms::bench
