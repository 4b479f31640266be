// Reads and checks the files that options name. None of them makes the program wait for ever or use up
// memory.
//
// CLI11 checks none of these files, so that an error reaches --termination-log too.
#pragma once

#include <cstddef>
#include <string>

namespace kms::builder {

/// Checks a file that is read several times, by libraries too: a regular file of at most 16 MiB, or no file
/// (""). Throws Error.
void require_regular_file(const std::string& option, const std::string& file);

enum class Amount { first_line, all };

/// Reads a file, or a FIFO, which gives its content once. Reads at most `max` + 1 bytes: a result larger than
/// `max` means that there is more. Throws Error, also if nobody writes to the FIFO.
[[nodiscard]] std::string read_option_file(const std::string& option, const std::string& file,
                                           std::size_t max, Amount amount);

}  // namespace kms::builder
