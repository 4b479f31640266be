// The exit codes of every program here, as users' scripts read them.
#pragma once

namespace kms::exit_code {

inline constexpr int ok = 0;
inline constexpr int failed = 1;
inline constexpr int usage = 2;        ///< bad options, arguments or input files
inline constexpr int unreachable = 3;  ///< nothing answers on the socket that was asked

}  // namespace kms::exit_code
