// OutputPipe reads the lines that one process of the plugin writes. OutputLog keeps the last lines of one
// instance's processes for `supervisor logs`.
//
// Both are used on the loop's thread, and their memory is bounded.
#pragma once

#include <sys/types.h>

#include <array>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/log/log.h"
#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

/// Both streams of the process come through one pipe, so that the order of its lines is kept. A line longer
/// than max_line bytes is cut.
class OutputPipe {
 public:
  static constexpr std::size_t kept_lines = 20;
  static constexpr std::size_t max_line = 4096;

  /// `on_line` gets each line.
  OutputPipe(asio::io_context& loop, std::function<void(std::string)> on_line)
      : loop_(loop), pipe_(loop), on_line_(std::move(on_line)) {}

  /// Makes the pipe and returns its write end. The caller passes it to the process and closes it. Called
  /// once. Throws Error.
  [[nodiscard]] int open();

  /// Reads what the dead process has left in the pipe, without waiting.
  void drain();

  /// The last lines, oldest first.
  [[nodiscard]] std::vector<std::string> last_lines() const;

 private:
  void read_next();
  std::size_t read_some();
  void take(std::string_view bytes);
  void finish_line();

  asio::io_context& loop_;
  asio::posix::stream_descriptor pipe_;
  std::function<void(std::string)> on_line_;
  std::array<char, 16384> buffer_{};
  std::string line_;
  std::deque<std::string> lines_;
  std::shared_ptr<const bool> alive_ = std::make_shared<bool>(true);  ///< expires with this
};

class OutputLog {
 public:
  static constexpr std::size_t kept_bytes = std::size_t{64} * 1024;
  static constexpr std::size_t kept_lines = 2000;

  /// `number` counts the lines of all instances.
  void add(std::uint64_t number, pid_t pid, const std::string& text);

  /// Appends the lines with a number above `after`, oldest first.
  void read(std::uint64_t after, unsigned instance, mock_kms::v1::OutputPage& page) const;

 private:
  std::deque<mock_kms::v1::OutputLine> lines_;  ///< without the instance; a text may hold any byte
  std::size_t bytes_ = 0;
};

/// A plugin's line as the supervisor writes it: with the instance's number in front, or as a JSON object.
[[nodiscard]] std::string plugin_line(log::Format format, unsigned instance, pid_t pid, std::string line);

}  // namespace kms::supervisor
