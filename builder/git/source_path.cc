#include "builder/git/source_path.h"

#include <algorithm>
#include <vector>

#include "builder/git/reserved_name.h"

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

/// A part of a name that Windows would take for a way up.
bool climbs_by_backslash(std::string_view name) {
  return ("\\" + std::string(name) + "\\").find("\\..\\") != std::string::npos;
}

}  // namespace

std::optional<std::string> why_bad_name(std::string_view name) {
  if (name.empty()) return "a name is empty";
  if (name == "." || name == "..") return "'" + std::string(name) + "' is no name";
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
      return Error(quoted + " is no path in a repository: " + *why, hint);
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

}  // namespace kms::builder
