// Writes new files, whole or not at all.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>

namespace kms::builder {

/// Copies the program `source` to `file`, which must not exist, with mode 0755 and fsync(2). Throws Error and
/// leaves no file then; `option` chose the place and is part of the next step: "--output".
void copy_to_new_file(int source, const std::filesystem::path& file, const std::string& option);

/// The same with `text` as content, and any mode.
void write_new_file(const std::filesystem::path& file, std::string_view text, mode_t mode,
                    const std::string& option);

/// "free some space, or give --output on a larger disk" for a full disk, else "check --output".
[[nodiscard]] std::string write_hint(int error, const std::string& option);

}  // namespace kms::builder
