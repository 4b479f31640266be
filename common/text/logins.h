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

/// `text` with "***" instead of USER:PASSWORD in each word USER:PASSWORD@HOST that is no URL.
[[nodiscard]] std::string without_logins_of_words(std::string text);

/// `text` with "***" instead of `secret`. A secret of fewer than four bytes is replaced where it is a word:
/// inside of words it is the text's own.
[[nodiscard]] std::string without_secret(std::string text, const std::string& secret);

}  // namespace kms
