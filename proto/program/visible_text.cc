#include "proto/program/visible_text.h"

#include <array>
#include <cstdio>

namespace kms {

std::string visible_text(std::string_view text) {
  std::string shown;
  for (const char c : text) {
    std::array<char, 5> code{};
    const auto byte = static_cast<unsigned char>(c);
    std::snprintf(code.data(), code.size(), byte < ' ' || byte == 0x7F ? "\\x%02x" : "%c", byte);
    shown += code.data();
  }
  return shown;
}

}  // namespace kms
