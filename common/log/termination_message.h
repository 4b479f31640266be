// Writes a container's termination message, which `kubectl describe pod` shows after the container is gone.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kms {

/// Kubernetes keeps this many bytes.
inline constexpr std::size_t max_termination_message = 4096;

/// The start of `text`, at most `max` bytes: well-formed UTF-8 in which only line ends are control
/// characters.
[[nodiscard]] std::string termination_text(std::string_view text, std::size_t max = max_termination_message);

/// Writes the termination_text() to `file`, if that is a regular file. Logs a failure, such as a full disk.
void write_termination_message(const std::string& file, std::string_view text);

}  // namespace kms
