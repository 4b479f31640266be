// Views of bytes, and of protobuf's strings as bytes. They own nothing; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace kms::provider {

using Bytes = std::span<const std::uint8_t>;

[[nodiscard]] inline Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

[[nodiscard]] inline std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace kms::provider
