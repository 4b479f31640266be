#include "builder/source/pkt_line.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <optional>

#include "common/error.h"

namespace kms::builder {
namespace {

constexpr std::size_t longest = 65520;

/// The packet's length with its four digits.
std::size_t length_of(std::string_view digits) {
  unsigned length = 0;
  const char* end = digits.data() + 4;
  if (std::from_chars(digits.data(), end, length, 16).ptr != end || length == 3 || length > longest) {
    throw Error("the server's answer is not git's protocol", "check the path in --repo");
  }
  return length;
}

Packet packet_of(std::size_t length, std::string_view bytes) {
  switch (length) {
    case 0:
      return {Packet::Kind::flush, {}};
    case 1:
      return {Packet::Kind::delimiter, {}};
    case 2:
      return {Packet::Kind::response_end, {}};
    default:
      return {Packet::Kind::data, bytes.substr(4, length - 4)};
  }
}

/// Takes the first packet off `bytes`; nothing where it is not complete.
std::optional<Packet> take(std::string_view& bytes) {
  if (bytes.size() < 4) return std::nullopt;
  const std::size_t length = length_of(bytes);
  const std::size_t size = length < 4 ? 4 : length;
  if (bytes.size() < size) return std::nullopt;
  const Packet packet = packet_of(length, bytes);
  bytes.remove_prefix(size);
  return packet;
}

}  // namespace

std::string pkt_line(std::string_view payload) {
  std::array<char, 5> digits{};
  std::snprintf(digits.data(), digits.size(), "%04zx", payload.size() + 4);
  return digits.data() + std::string(payload);
}

std::string_view Packet::line() const {
  std::string_view text = payload;
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

void PktReader::feed(std::string_view bytes, const std::function<bool(const Packet&)>& on_packet) {
  std::string joined;
  if (!pending_.empty()) {
    joined = std::exchange(pending_, {}).append(bytes);
    bytes = joined;
  }
  while (const auto packet = take(bytes)) {
    if (!on_packet(*packet)) return;
  }
  pending_ = bytes;
}

}  // namespace kms::builder
