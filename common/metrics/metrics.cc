#include "common/metrics/metrics.h"

#include <array>
#include <charconv>

namespace kms {

void MetricsText::family(std::string_view name, std::string_view type, std::string_view help) {
  text_.append("# HELP ").append(name).append(" ").append(help).append("\n");
  text_.append("# TYPE ").append(name).append(" ").append(type).append("\n");
}

void MetricsText::sample(std::string_view name, const std::string& labels, const std::string& value) {
  text_.append(name);
  if (!labels.empty()) text_.append("{").append(labels).append("}");
  text_.append(" ").append(value).append("\n");
}

void MetricsText::histogram(const std::string& name, const std::string& labels,
                            const LatencyHistogram& values) {
  const auto with_bound = [&](const std::string& bound) {
    return (labels.empty() ? "" : labels + ",") + metrics_label("le", bound);
  };
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < values.counts_.size(); ++i) {
    count += values.counts_[i];
    const bool bounded = i < LatencyHistogram::bounds.size();
    sample(name + "_bucket", with_bound(bounded ? metrics_number(LatencyHistogram::bounds[i]) : "+Inf"),
           std::to_string(count));
  }
  sample(name + "_sum", labels, metrics_number(std::chrono::duration<double>(values.sum_).count()));
  sample(name + "_count", labels, std::to_string(count));
}

std::string metrics_label(std::string_view name, std::string_view value) {
  std::string label = std::string(name) + "=\"";
  for (const char c : value) {
    if (c == '\\' || c == '"') label += '\\';
    if (c == '\n') {
      label += "\\n";
    } else {
      label += c;
    }
  }
  return label + "\"";
}

std::string metrics_number(double value) {
  std::array<char, 64> text{};
  const auto [end, error] =
      std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  return {text.data(), error == std::errc{} ? end : text.data()};
}

}  // namespace kms
