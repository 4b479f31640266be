#include "builder/git/source_path.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace kms::builder {
namespace {

std::vector<std::string_view> components(std::string_view path) {
  std::vector<std::string_view> result;
  while (true) {
    const std::size_t slash = path.find('/');
    result.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return result;
    path.remove_prefix(slash + 1);
  }
}

/// Windows takes a backslash for a slash.
bool climbs_by_backslash(std::string_view name) {
  return ("\\" + std::string(name) + "\\").find("\\..\\") != std::string::npos;
}

/// Takes one code point off `text`; empty if it is no UTF-8.
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

/// `name` as HFS+ compares it. Like git, it ends at the first byte that is no UTF-8.
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

std::string joined_path(const std::string& directory, const std::string& name) {
  std::string path = (std::filesystem::path(directory) / name).lexically_normal().string();
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path.empty() ? "." : path;
}

std::optional<std::string> why_bad_name(std::string_view name) {
  if (name.empty()) return "a name is empty";
  if (name == "." || name == "..") return "'" + std::string(name) + "' is not a name";
  if (means_git_directory(name)) return "'.git', in whatever form, belongs to git alone";
  if (means_device(name)) return "it is the name of a device on Windows";
  if (climbs_by_backslash(name)) return "it leads upwards on Windows";
  const auto bad = [](unsigned char c) { return c == '/' || c < 0x20 || c == 0x7F; };
  if (std::any_of(name.begin(), name.end(), bad)) return "a name holds a slash or a control character";
  if (name.size() > 255) return "a name is longer than 255 bytes";
  return std::nullopt;
}

Outcome<std::string> source_path(std::string_view text) {
  const std::string quoted = "'" + std::string(text) + "'";
  constexpr auto hint = "give directories or files of the repository, such as 'provider'";
  if (text.empty()) return Error("a path is empty", hint);
  if (text.starts_with('/')) return Error(quoted + " is an absolute path", hint);
  while (text.ends_with('/')) text.remove_suffix(1);
  while (text.starts_with("./")) text.remove_prefix(2);
  if (text.empty() || text == ".") return std::string(".");
  for (const std::string_view name : components(text)) {
    if (const auto why = why_bad_name(name))
      return Error(quoted + " is not a path in a repository: " + *why, hint);
  }
  return std::string(text);
}

std::optional<std::string> why_bad_link(std::string_view link, std::string_view target) {
  if (target.empty()) return "it points nowhere";
  if (target.starts_with('/')) return "it points to an absolute path";
  if (target.size() > max_link) return "its target is longer than a path can be";
  if (target.find('\0') != std::string_view::npos) return "its target holds a zero byte";
  auto depth = static_cast<std::ptrdiff_t>(components(link).size()) - 1;
  bool down = false;
  for (const std::string_view name : components(target)) {
    if (name == "..") {
      if (down) return "its target goes down and up again";
      if (--depth < 0) return "it points outside of the tree";
    } else if (name != "." && !name.empty()) {
      if (means_git_directory(name)) return "it points into .git";
      if (climbs_by_backslash(name)) return "it points upwards on Windows";
      down = true;
    }
  }
  return std::nullopt;
}

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
