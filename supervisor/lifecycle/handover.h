// Handover says how a plugin comes to its listening socket: from the supervisor, or by binding its own.
//
// Pure. "auto" finds out by trial and never by the plugin's name: sockets are handed down until a plugin has
// ended, or bound the path itself, before it ever answered on them; then it is started without any, and so on
// in turn. The first answer settles the way. What failed may have had another cause, such as a missing file,
// so a plugin that was found to bind its own is given the sockets once more at its next start.
#pragma once

#include <string>

namespace kms::supervisor {

enum class HandoverMode { automatic, require, off };

class Handover {
 public:
  explicit Handover(HandoverMode mode) : mode_(mode), hand_down_(mode != HandoverMode::off) {}

  /// Another process is about to start.
  void next_process();

  /// Whether the next process gets the supervisor's sockets.
  [[nodiscard]] bool hand_down() const { return hand_down_; }

  /// The process answered: over its private connection, which proves that it takes what is handed down, or at
  /// the endpoint.
  void answered(bool privately) {
    settled_ = true;
    private_ = privately;
    if (privately) without_private_ = 0;
    hand_down_ |= privately;
  }

  /// Whether answers are known to come over the private connection, each from the process that was asked.
  /// Only then can two processes be told apart, and one take over from the other.
  [[nodiscard]] bool private_probes() const { return private_; }

  /// Whether two processes in a row have taken the listening socket and have not answered over their private
  /// connection. A first one may only have been slow.
  [[nodiscard]] bool only_at_endpoint() const { return without_private_ > 1; }

  /// A process has answered, and the way is found.
  [[nodiscard]] bool settled() const { return settled_; }

  [[nodiscard]] bool required() const { return mode_ == HandoverMode::require; }

  /// The process ended by itself, took the path for a socket of its own or never answered. True where the
  /// other way is tried next.
  [[nodiscard]] bool failed(const std::string& why);

  /// "handed down", "handed down (not proven yet)", "bound by the plugin: it exited with code 1 when ...".
  [[nodiscard]] std::string text() const;

 private:
  HandoverMode mode_;
  bool hand_down_;
  bool settled_ = false;
  bool private_ = false;
  unsigned without_private_ = 0;
  bool tried_again_ = false;  ///< after a process that had bound its own socket
  std::string why_not_;
};

}  // namespace kms::supervisor
