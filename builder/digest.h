// SHA-256 of texts. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

namespace kms::builder {

/// 64 hex digits. Throws Error where OpenSSL cannot.
[[nodiscard]] std::string sha256_of_text(std::string_view text);

}  // namespace kms::builder
