// glob_match() matches a text against a pattern with '*' and '?', as shells and OpenSSH write it.
#pragma once

#include <string_view>

namespace kms {

/// '*' stands for any characters, '?' for exactly one. The whole text must match. Linear in practice, and at
/// most quadratic: no pattern makes it run away.
[[nodiscard]] bool glob_match(std::string_view pattern, std::string_view text);

}  // namespace kms
