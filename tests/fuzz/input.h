// Turns libFuzzer's input into text and reports a broken promise. Only fuzz targets include it.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/error.h"

namespace kms::fuzz {

/// Ends the program as a finding where a promise is broken.
inline void expect(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", promise);
  std::abort();
}

/// A refusal has a cause and is one line.
inline void expect_good(const Error& failure) {
  expect(!failure.cause().empty(), "a failure names its cause");
  expect(failure.line().find('\n') == std::string::npos, "a failure is one line");
}

inline std::string text_of_input(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace kms::fuzz
