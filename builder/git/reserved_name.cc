#include "builder/git/reserved_name.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

namespace kms::builder {
namespace {

/// Takes one code point off `text`; nothing where it is no UTF-8.
std::optional<std::uint32_t> take_code_point(std::string_view& text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const std::size_t size = lead < 0x80         ? 1
                           : lead >> 5 == 0x6  ? 2
                           : lead >> 4 == 0xE  ? 3
                           : lead >> 3 == 0x1E ? 4
                                               : 0;
  if (size == 0 || size > text.size()) return std::nullopt;
  std::uint32_t point = size == 1 ? lead : lead & (0x7FU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if (next >> 6 != 0x2) return std::nullopt;
    point = point << 6 | (next & 0x3FU);
  }
  text.remove_prefix(size);
  return point;
}

/// Apple's TN1150, "Case-Insensitive String Comparison Algorithm".
bool ignored_by_hfs(std::uint32_t point) {
  return (point >= 0x200C && point <= 0x200F) || (point >= 0x202A && point <= 0x202E) ||
         (point >= 0x206A && point <= 0x206F) || point == 0xFEFF;
}

/// `name` as HFS+ compares it; it ends, as for git, where it is no UTF-8.
std::string folded_by_hfs(std::string_view name) {
  std::string folded;
  while (!name.empty()) {
    const std::string_view before = name;
    const std::optional<std::uint32_t> point = take_code_point(name);
    if (!point) break;
    if (!ignored_by_hfs(*point)) folded += before.substr(0, before.size() - name.size());
  }
  return fold_case(folded);
}

bool begins_git_directory_on_ntfs(std::string_view folded) {
  for (const std::string_view form : {".git", "git~1"}) {
    if (!folded.starts_with(form)) continue;
    const std::size_t end = folded.find_first_not_of(". ", form.size());
    if (end == std::string_view::npos || folded[end] == '\\' || folded[end] == ':') return true;
  }
  return false;
}

}  // namespace

std::string fold_case(std::string_view text) {
  std::string folded(text);
  std::transform(folded.begin(), folded.end(), folded.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return folded;
}

bool means_git_directory(std::string_view name) {
  if (folded_by_hfs(name) == ".git") return true;
  const std::string folded = fold_case(name);
  std::string_view rest = folded;
  while (!begins_git_directory_on_ntfs(rest)) {
    const std::size_t backslash = rest.find('\\');
    if (backslash == std::string_view::npos) return false;
    rest.remove_prefix(backslash + 1);
  }
  return true;
}

bool means_device(std::string_view name) {
  constexpr std::array<std::string_view, 6> devices{"conin$", "conout$", "con", "prn", "aux", "nul"};
  const std::string folded = fold_case(name);
  std::size_t length = 0;
  for (const std::string_view device : devices) {
    if (length == 0 && folded.starts_with(device)) length = device.size();
  }
  const bool port = folded.starts_with("com") || folded.starts_with("lpt");
  if (port && folded.size() > 3 && folded[3] >= '1' && folded[3] <= '9') length = 4;
  if (length == 0) return false;
  const std::size_t end = folded.find_first_not_of(' ', length);
  return end == std::string::npos || folded[end] == '.' || folded[end] == ':';
}

}  // namespace kms::builder
