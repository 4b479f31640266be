// LossyWriter writes lines to a descriptor and drops those that nobody reads.
//
// Called by one thread at a time. A line waits for the reader for 20 ms at most, and not at all if the one
// before was dropped. A long line may be cut. The caller ignores SIGPIPE. Unlike the
// supervisor's LineWriter it keeps no line for later: an injected crash ends the process right after its
// line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace kms::provider {

class LossyWriter {
 public:
  /// Writes to `fd`, which outlives this. `program` begins the line that counts the dropped ones.
  LossyWriter(int fd, std::string program) : fd_(fd), program_(std::move(program)) {}

  /// `line` has no line end.
  void write(std::string_view line);

 private:
  [[nodiscard]] bool writable(int timeout_ms) const;
  [[nodiscard]] bool write_some(std::string_view& rest);
  [[nodiscard]] std::string before_next() const;

  int fd_;
  std::string program_;
  bool stalled_ = false;       ///< nobody read the last line
  bool cut_ = false;           ///< what was written last has no line end
  std::uint64_t dropped_ = 0;  ///< since the last line that was written
};

}  // namespace kms::provider
