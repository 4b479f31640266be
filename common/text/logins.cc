#include "common/text/logins.h"

#include <algorithm>
#include <cctype>

namespace kms {
namespace {

/// The scheme that ends at `end`, which is where its "://" begins.
std::string_view scheme_before(std::string_view text, std::size_t end) {
  std::size_t begin = end;
  const auto is_of_scheme = [](char c) {  // RFC 3986
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '-' || c == '.';
  };
  while (begin > 0 && is_of_scheme(text[begin - 1])) --begin;
  return text.substr(begin, end - begin);
}

bool is_of_word(std::string_view text, std::size_t at) {
  return at < text.size() && std::isalnum(static_cast<unsigned char>(text[at])) != 0;
}

}  // namespace

bool can_hold_login(std::string_view scheme) { return scheme != "unix" && scheme != "file"; }

std::string without_logins(std::string text) {
  constexpr std::string_view separator = "://";
  for (std::size_t at = 0; (at = text.find(separator, at)) != std::string::npos;) {
    const bool is_path = !can_hold_login(scheme_before(text, at));
    at += separator.size();
    if (is_path) continue;
    const std::size_t end = std::min(text.find_first_of(" \t\r\n", at), text.size());
    const std::size_t login = text.substr(at, end - at).rfind('@');
    if (login != std::string::npos) text.replace(at, login, "***");
  }
  return text;
}

std::string without_logins_of_words(std::string text) {
  constexpr auto separators = " \t\r\n'\"";
  for (std::size_t at = 0; (at = text.find_first_not_of(separators, at)) != std::string::npos;) {
    const std::size_t end = std::min(text.find_first_of(separators, at), text.size());
    const std::string_view word = std::string_view(text).substr(at, end - at);
    const std::size_t login = word.rfind('@');
    const bool has_login = login != std::string_view::npos && word.find(':') < login;
    if (has_login && word.find("://") == std::string_view::npos) {
      text.replace(at, login, "***");
      at += end - at - login + 3;
    } else {
      at = end;
    }
  }
  return text;
}

std::string without_secret(std::string text, const std::string& secret) {
  constexpr std::size_t min_anywhere = 4;
  for (std::size_t at = 0; !secret.empty() && (at = text.find(secret, at)) != std::string::npos;) {
    const std::size_t end = at + secret.size();
    if (secret.size() < min_anywhere && ((at > 0 && is_of_word(text, at - 1)) || is_of_word(text, end))) {
      ++at;
    } else {
      text.replace(at, secret.size(), "***");
      at += 3;
    }
  }
  return text;
}

}  // namespace kms
