// lines_of() splits a text into its lines.
#pragma once

#include <algorithm>
#include <string_view>
#include <vector>

namespace kms {

/// The lines of `text` without their line ends. They are views: keep the text as long as them.
[[nodiscard]] inline std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace kms
