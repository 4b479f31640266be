// The exit codes of every program, as users' scripts read them.
#pragma once

#include "common/error.h"

namespace kms::exit_code {

inline constexpr int ok = 0;
inline constexpr int failed = 1;
inline constexpr int usage = 2;        ///< a wrong option, argument or input file
inline constexpr int unreachable = 3;  ///< nothing answers on the socket

[[nodiscard]] constexpr int of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_input:
      return usage;
    case ErrorCode::unreachable:
      return unreachable;
    case ErrorCode::failed:
    case ErrorCode::not_found:
      break;
  }
  return failed;
}

}  // namespace kms::exit_code
