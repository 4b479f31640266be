// Limits bound what a hostile repository can make endless.
#pragma once

#include <cstdint>

namespace kms::builder {

struct Limits {
  std::uint64_t bytes = 1'000'000'000;  ///< that a server sends, and that all files together have
  std::uint64_t files = 200'000;        ///< files and directories that are written
};

}  // namespace kms::builder
