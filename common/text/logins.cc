#include "common/text/logins.h"

#include <algorithm>
#include <string_view>

namespace kms {

std::string without_logins(std::string text) {
  constexpr std::string_view separator = "://";
  for (std::size_t at = 0; (at = text.find(separator, at)) != std::string::npos;) {
    at += separator.size();
    const std::size_t end = std::min(text.find_first_of(" \t\r\n", at), text.size());
    const std::size_t login = text.substr(at, end - at).rfind('@');
    if (login != std::string::npos) text.replace(at, login, "***");
  }
  return text;
}

}  // namespace kms
