// pkt-line is git's framing: four hex digits of length, then the bytes (gitprotocol-common(5)).
//
// Pure; a PktReader is used on one thread. It trusts no length: a server's answer that is no pkt-line is an
// Error, and no packet is longer than 65,520 bytes.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace kms::builder {

inline constexpr std::string_view flush_packet = "0000";
inline constexpr std::string_view delimiter_packet = "0001";

/// `payload` (at most 65,516 bytes) with its length in front.
[[nodiscard]] std::string pkt_line(std::string_view payload);

struct Packet {
  enum class Kind { data, flush, delimiter, response_end };
  Kind kind = Kind::data;
  std::string_view payload;  ///< valid until the reader is fed again

  /// The payload without the line end that text packets may have.
  [[nodiscard]] std::string_view line() const;
};

class PktReader {
 public:
  /// Calls `on_packet` for each packet that `bytes` complete, as long as it returns true. Throws Error.
  void feed(std::string_view bytes, const std::function<bool(const Packet&)>& on_packet);

  /// Whether the stream may end here: no packet is half read.
  [[nodiscard]] bool between_packets() const { return pending_.empty(); }

 private:
  std::string pending_;
};

}  // namespace kms::builder
