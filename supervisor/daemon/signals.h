// SignalSource turns the supervisor's signals into calls on the loop, by signalfd(2): no handler ever runs.
//
// block_signals() is called in main before any thread exists, so that all threads inherit the mask.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <functional>

namespace kms::supervisor {

/// Blocks TERM, INT, HUP, USR1 and CHLD for this thread and those it starts. Also ignores PIPE, since a
/// reader of stderr may go.
void block_signals();

class SignalSource {
 public:
  /// `sink` gets each signal's number on the loop's thread. Several CHLD may arrive as one.
  SignalSource(asio::io_context& loop, std::function<void(int)> sink);

 private:
  void wait();

  asio::posix::stream_descriptor descriptor_;
  std::function<void(int)> sink_;
};

}  // namespace kms::supervisor
