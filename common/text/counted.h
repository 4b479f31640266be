// counted() writes a number with its noun.
#pragma once

#include <concepts>
#include <string>

namespace kms {

/// "1 call", "2 calls".
[[nodiscard]] std::string counted(std::integral auto count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

}  // namespace kms
