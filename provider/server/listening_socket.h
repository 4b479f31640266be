// ListeningSocket is where the provider accepts: a socket that its supervisor handed down, or one of its own.
//
// Made and used by main's thread. With a socket of its own it is the provider's turn to accept from the
// start; with one that was handed down, when the supervisor says so.
#pragma once

#include <optional>
#include <string>

#include "common/net/handed_down.h"
#include "common/net/unix_listener.h"

namespace kms::provider {

class ListeningSocket {
 public:
  /// Takes what LISTEN_FDS announces, else claims `endpoint`. Throws kms::Error where neither can be had.
  ListeningSocket(const Endpoint& endpoint, const SocketAccess& access);

  [[nodiscard]] int fd() const { return own_ ? own_->fd() : handed_down_->listening.get(); }

  /// Whether it is the supervisor's, who may have another process of this instance at the same time.
  [[nodiscard]] bool handed_down() const { return handed_down_.has_value(); }

  /// The connection on which the supervisor alone asks; empty where there is none, and after the first call.
  [[nodiscard]] UniqueFd take_probe();

  /// Waits until this process may accept. False where `stop_fd` became readable, or the supervisor went,
  /// before that.
  [[nodiscard]] bool wait_for_turn(int stop_fd) const;

  /// "handed down by the supervisor", or the mode of its own: "mode 0600".
  [[nodiscard]] const std::string& description() const { return description_; }

  /// Closes it, and removes the path where it is its own.
  void release();

 private:
  std::optional<HandedDown> handed_down_;
  std::optional<UnixListener> own_;
  std::string description_;
};

}  // namespace kms::provider
