// SshWire reads the parts of SSH's binary messages (RFC 4251, section 5), none beyond its end.
//
// Pure; used on one thread. Bytes come from strangers: a part that does not fit is nothing, and so is every
// part after it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

namespace kms::builder {

class SshWire {
 public:
  /// `bytes` outlive the reader.
  explicit SshWire(std::string_view bytes) : rest_(bytes) {}

  /// Everything was read, and all of it was there.
  [[nodiscard]] bool at_end() const { return !failed_ && rest_.empty(); }

  std::optional<std::uint32_t> uint32() {
    const auto bytes = take(4);
    if (!bytes) return std::nullopt;
    std::uint32_t value = 0;
    for (const char byte : *bytes) value = value << 8 | static_cast<unsigned char>(byte);
    return value;
  }

  /// Its length, then that many bytes; refers to the bytes that were given.
  std::optional<std::string_view> string() {
    const auto size = uint32();
    return size ? take(*size) : std::nullopt;
  }

  /// An integer's bytes without leading zeros; nothing for a negative one.
  std::optional<std::string_view> positive_integer() {
    auto bytes = string();
    if (!bytes || bytes->empty() || (bytes->front() & 0x80) != 0) return std::nullopt;
    bytes->remove_prefix(std::min(bytes->find_first_not_of('\0'), bytes->size()));
    return bytes;
  }

  std::optional<std::string_view> take(std::size_t size) {
    if (size > rest_.size()) failed_ = true;
    if (failed_) return std::nullopt;
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace kms::builder
