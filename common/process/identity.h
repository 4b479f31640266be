// Identity is whom a process runs as. A value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/error.h"

namespace kms::process {

/// The groups are resolved beforehand: a new process asks no user database.
struct Identity {
  std::uint32_t user;
  std::uint32_t group;
  std::vector<std::uint32_t> groups;  ///< supplementary ones
};

/// Reads "USER" or "USER:GROUP", names or numbers. Without a group it is the user's own. Not thread-safe
/// (getpwnam(3)).
[[nodiscard]] Outcome<Identity> find_identity(const std::string& text);

}  // namespace kms::process
