// The words of others may hold control characters, which a terminal would obey: they are shown instead.
#pragma once

#include <string>
#include <string_view>

namespace kms {

/// `text` with each control character as \xNN. Pure, any thread.
[[nodiscard]] std::string visible_text(std::string_view text);

}  // namespace kms
