#include "builder/source/ref_name.h"

#include <algorithm>
#include <cctype>

#include "common/cli/command_line.h"

namespace kms::builder {
namespace {

bool all_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
}

/// The rules of git-check-ref-format(1) that matter for a name that is only looked up.
bool well_formed(std::string_view text) {
  if (text.empty() || text.front() == '-' || text.front() == '/' || text.back() == '/' || text.back() == '.')
    return false;
  for (const std::string_view bad : {"..", "@{", "//", "/."}) {
    if (text.find(bad) != std::string_view::npos) return false;
  }
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c > 0x20 && c != 0x7F &&
           std::string_view("~^:?*[\\").find(static_cast<char>(c)) == std::string_view::npos;
  });
}

std::string short_name(const std::string& ref) {
  for (const std::string_view prefix : {"refs/heads/", "refs/tags/"}) {
    if (ref.starts_with(prefix)) return ref.substr(prefix.size());
  }
  return ref;
}

}  // namespace

Outcome<RefName> RefName::parse(std::string_view text) {
  if (text.size() == 40 && all_hex(text)) {
    std::string id(text);
    std::transform(id.begin(), id.end(), id.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return RefName(std::move(id), true);
  }
  if (!well_formed(text)) {
    return Error("'" + std::string(text) + "' is not a ref name",
                 "give a branch, a tag, HEAD or a full commit id");
  }
  return RefName(std::string(text), false);
}

std::vector<std::string> RefName::candidates() const {
  if (commit_id_) return {};
  if (text_ == "HEAD" || text_.starts_with("refs/")) return {text_};
  return {"refs/heads/" + text_, "refs/tags/" + text_};
}

std::string RefName::tag_name() const { return commit_id_ ? "" : short_name(text_); }

Error RefName::not_found(const std::string& repository, const std::vector<std::string>& existing) const {
  if (commit_id_) {
    return {"cannot find commit " + text_ + ": no branch or tag of " + repository + " leads to it",
            "check the id, or push the commit"};
  }
  if (text_ == "HEAD") {
    return {"cannot find HEAD: " + repository + " has no commit that HEAD points to",
            "commit something, or give --ref"};
  }
  std::vector<std::string> names;
  std::transform(existing.begin(), existing.end(), std::back_inserter(names), short_name);
  const std::string near = nearest(text_, names);
  std::string hint = near.empty() ? "list them by `git ls-remote`" : "did you mean '" + near + "'?";
  if (near.empty() && text_.size() >= 4 && all_hex(text_))
    hint = "give a commit's id with all of its 40 digits";
  return {"cannot find ref '" + text_ + "': " + repository + " has no branch or tag of this name", hint};
}

}  // namespace kms::builder
