// FetchMeter is how far a transfer is; written by the fetching thread, read by the drawing one.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

namespace kms::builder {

struct FetchMeter {
  std::atomic<std::uint32_t> objects{0};
  std::atomic<std::uint32_t> objects_total{0};
  std::atomic<std::uint64_t> bytes{0};  ///< from the server: all of the wire over http and git, else payload
  std::atomic<std::uint32_t> requests{0};  ///< sent to the server, the greeting included
  std::atomic<std::uint64_t> beats{0};     ///< grows at every sign of life of the server
  std::atomic<bool> hung_up{false};        ///< the server's end of the latest connection is closed
  std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max();  ///< the fetching thread's own
  std::atomic<bool> cancelled{false};  ///< set by the drawing thread: stop as soon as possible
};

}  // namespace kms::builder
