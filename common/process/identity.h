// Identity names the user and the groups that a process runs as.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/error.h"

namespace kms::process {

/// The groups are resolved beforehand, so that a new process reads no user database.
struct Identity {
  std::uint32_t user;
  std::uint32_t group;
  std::vector<std::uint32_t> groups;  ///< supplementary ones
  std::string name = {};              ///< "" for a number that the user database does not know
  std::string home = "/";
};

/// Reads "USER" or "USER:GROUP", names or numbers. The default group is the user's own. Not thread-safe
/// (getpwnam(3)).
[[nodiscard]] Outcome<Identity> find_identity(const std::string& text);

}  // namespace kms::process
