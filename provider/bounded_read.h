// Files read whole, up to a limit. A function without state, safe from any thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace kms::provider {

/// What is left to read of `fd`: at most `most` bytes, and one more by which a file that is too large is
/// known. `path` names it in errors. Throws Error.
[[nodiscard]] std::string read_at_most(int fd, std::size_t most, const std::filesystem::path& path);

}  // namespace kms::provider
