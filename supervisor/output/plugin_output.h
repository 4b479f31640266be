// OutputPipe reads what a plugin writes, passes it on line by line and keeps the last lines for `status`.
//
// Owned by a Child; all of it runs on the loop's thread. Both of the child's streams come through one pipe,
// so that their order is kept. A line longer than max_line bytes is cut into several.
#pragma once

#include <array>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kms::supervisor {

class OutputPipe {
 public:
  static constexpr std::size_t kept_lines = 20;
  static constexpr std::size_t max_line = 4096;

  /// `pass_on` gets each line.
  OutputPipe(asio::io_context& loop, std::function<void(std::string)> pass_on)
      : loop_(loop), pipe_(loop), pass_on_(std::move(pass_on)) {}

  /// Makes the pipe and returns its write end: the caller passes it to the child and closes it. Once. Throws
  /// Error.
  [[nodiscard]] int open();

  /// Takes in what the dead process has left in the pipe, without waiting.
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
  std::function<void(std::string)> pass_on_;
  std::array<char, 16384> buffer_{};
  std::string line_;
  std::deque<std::string> lines_;
  std::shared_ptr<const bool> alive_ = std::make_shared<bool>(true);  ///< expires with this
};

}  // namespace kms::supervisor
