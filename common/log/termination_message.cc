#include "common/log/termination_message.h"

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "common/error.h"
#include "common/log/log.h"
#include "common/text/escape.h"

namespace kms {

std::string termination_text(std::string_view text, std::size_t max) {
  std::string clean = utf8_text(text.substr(0, max));
  const std::string lines = without_controls(clean, '?');
  for (std::size_t i = 0; i < clean.size(); ++i) {
    if (clean[i] != '\n') clean[i] = lines[i];
  }
  if (clean.size() <= max) return clean;
  while (max > 0 && (static_cast<unsigned char>(clean[max]) & 0xC0) == 0x80) --max;  // not within a character
  return clean.substr(0, max);
}

void write_termination_message(const std::string& file, std::string_view text) {
  std::error_code none;
  if (!std::filesystem::is_regular_file(file, none)) return;
  errno = 0;
  std::ofstream written(file);
  written << termination_text(text) << std::flush;
  if (!written) {
    log::warning("cannot write the termination message", {{"file", file}, {"cause", errno_text(errno)}});
  }
}

}  // namespace kms
