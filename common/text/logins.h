// Takes logins out of text that a user typed or a library wrote.
#pragma once

#include <string>

namespace kms {

/// `text` with "***" instead of everything between "://" and the last @ of the same word.
[[nodiscard]] std::string without_logins(std::string text);

}  // namespace kms
