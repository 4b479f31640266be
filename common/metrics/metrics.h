// MetricsText writes Prometheus' text format 0.0.4. LatencyHistogram counts latencies for it.
//
// One thread uses a value at a time. prometheus-cpp is not used: Debian has it as a shared library only, and
// the binaries are compiled in one container and run in another that has nothing but glibc.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/text/time.h"

namespace kms {

class LatencyHistogram;

class MetricsText {
 public:
  /// Begins a metric; its samples follow. `type` is counter, gauge or histogram.
  void family(std::string_view name, std::string_view type, std::string_view help);

  /// `labels` are metrics_label()s separated by commas, or "".
  void sample(std::string_view name, const std::string& labels, const std::string& value);

  /// The buckets, the sum and the count.
  void histogram(const std::string& name, const std::string& labels, const LatencyHistogram& values);

  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

class LatencyHistogram {
 public:
  /// Upper bounds of the buckets in seconds; one more bucket has no bound.
  static constexpr std::array<double, 16> bounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                 0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};

  void observe(Duration latency) {
    const double seconds = std::chrono::duration<double>(latency).count();
    const auto bound = std::lower_bound(bounds.begin(), bounds.end(), seconds);
    ++counts_[static_cast<std::size_t>(bound - bounds.begin())];
    sum_ += latency;
  }

 private:
  friend class MetricsText;

  std::array<std::uint64_t, bounds.size() + 1> counts_{};
  Duration sum_{0};
};

/// `name="value"`, with backslashes, quotes and line ends escaped.
[[nodiscard]] std::string metrics_label(std::string_view name, std::string_view value);

/// The shortest text without an exponent that reads back as `value`: people read the bounds of buckets.
[[nodiscard]] std::string metrics_number(double value);

}  // namespace kms
