// MetricsText writes what is counted in Prometheus' text format 0.0.4. Pure; one thread.
//
// Written here and not by prometheus-cpp: Debian has that as a shared library only, and the binaries are
// compiled in one container and run in another, which has nothing but glibc.
#pragma once

#include <string>
#include <string_view>

namespace kms {

class MetricsText {
 public:
  /// Begins a metric. `type` is counter, gauge or histogram; its samples follow.
  void family(std::string_view name, std::string_view type, std::string_view help);

  /// `labels` are metrics_label()s with commas between, or "".
  void sample(std::string_view name, const std::string& labels, const std::string& value);

  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

/// `name="value"`, with the value's backslashes, quotes and line ends escaped.
[[nodiscard]] std::string metrics_label(std::string_view name, std::string_view value);

/// As short as the value can be read back from.
[[nodiscard]] std::string metrics_number(double value);

}  // namespace kms
