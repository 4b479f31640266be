#include "common/process/identity.h"

#include <grp.h>
#include <pwd.h>

#include <array>
#include <charconv>
#include <limits>
#include <optional>

namespace kms::process {
namespace {

/// Refuses the largest number: setresuid(2) takes it as "unchanged", and the plugin would run as root.
std::optional<std::uint32_t> number(const std::string& text) {
  std::uint32_t value = 0;
  const char* end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data(), end, value);
  const bool valid =
      error == std::errc() && last == end && value != std::numeric_limits<std::uint32_t>::max();
  return valid ? std::optional(value) : std::nullopt;
}

std::vector<std::uint32_t> groups_of(const passwd& user) {
  std::array<gid_t, 256> groups{};
  int count = groups.size();
  if (::getgrouplist(user.pw_name, user.pw_gid, groups.data(), &count) < 0) count = groups.size();
  return {groups.begin(), groups.begin() + count};
}

}  // namespace

Outcome<Identity> find_identity(const std::string& text) {
  const std::size_t colon = text.find(':');
  const std::string user_text = text.substr(0, colon);
  const auto user_number = number(user_text);
  const passwd* user = user_number ? ::getpwuid(*user_number) : ::getpwnam(user_text.c_str());
  if (user == nullptr && !user_number)
    return Error("there is no user '" + user_text + "'", "use a name or a number");
  Identity identity{user_number.value_or(user == nullptr ? 0 : user->pw_uid),
                    user == nullptr ? user_number.value_or(0) : user->pw_gid,
                    user == nullptr ? std::vector<std::uint32_t>{} : groups_of(*user),
                    user == nullptr ? "" : user->pw_name, user == nullptr ? "/" : user->pw_dir};
  if (colon == std::string::npos) return identity;
  const std::string group_text = text.substr(colon + 1);
  const auto group_number = number(group_text);
  const group* group = group_number ? nullptr : ::getgrnam(group_text.c_str());
  if (group == nullptr && !group_number)
    return Error("there is no group '" + group_text + "'", "use a name or a number");
  identity.group = group_number ? *group_number : group->gr_gid;
  return identity;
}

}  // namespace kms::process
