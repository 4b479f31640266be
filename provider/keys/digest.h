// SHA-256 for people to compare. A function without state, safe from any thread.
#pragma once

#include <string>

#include "provider/bytes.h"

namespace kms::provider {

/// The digest in 64 lower-case hex digits. Throws Error.
[[nodiscard]] std::string sha256_hex(Bytes bytes);

}  // namespace kms::provider
