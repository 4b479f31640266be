// Copying a file into a new one, wholly or not at all. Functions without state; any thread.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

namespace kms::builder {

/// Copies what `source` holds from its beginning on to `file`, which must not be there yet, with fsync(2).
/// Throws Error and leaves no file then; `on_full` is what to do where the disk is full.
void copy_to_new_file(int source, const std::filesystem::path& file, mode_t mode, const std::string& on_full);

}  // namespace kms::builder
