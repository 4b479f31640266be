// Takes logins out of text that a user typed or a library wrote.
#pragma once

#include <string>
#include <string_view>

namespace kms {

/// False for "unix" and "file": after "://" stands a path, which may have an @.
[[nodiscard]] bool can_hold_login(std::string_view scheme);

/// `text` with "***" instead of everything between "://" and the last @ of the same word, except after a
/// scheme that cannot hold a login.
[[nodiscard]] std::string without_logins(std::string text);

}  // namespace kms
