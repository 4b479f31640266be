// Handover finds out how a plugin gets its listening socket: from the supervisor, or by binding its own.
//
// "auto" tries both and never goes by the plugin's name. It hands the sockets down first. If the plugin ends
// or binds the path itself before it ever answered, the next process starts without them, and so on
// alternately. The first answer settles it. The failure may have had another cause, such as a missing file,
// so a plugin that binds its own socket is offered the sockets once more at its next start.
#pragma once

#include <string>
#include <utility>

namespace kms::supervisor {

enum class HandoverMode { automatic, require, off };

class Handover {
 public:
  explicit Handover(HandoverMode mode) : mode_(mode), hand_down_(mode != HandoverMode::off) {}

  /// Another process is about to start.
  void next_process() {
    if (settled_ && hand_down_ && !private_) ++without_private_;
    if (!settled_ || hand_down_ || mode_ != HandoverMode::automatic || std::exchange(tried_again_, true))
      return;
    settled_ = false;
    hand_down_ = true;
  }

  /// True if the next process gets the supervisor's sockets.
  [[nodiscard]] bool hand_down() const { return hand_down_; }

  /// The process answered at the endpoint, or over its private connection. The latter proves that it takes
  /// what is handed down.
  void answered(bool privately) {
    settled_ = true;
    private_ = privately;
    if (privately) without_private_ = 0;
    hand_down_ |= privately;
  }

  /// True if an answer is known to come from the process that was probed. Only then can two processes be told
  /// apart, and one take over from the other.
  [[nodiscard]] bool private_probes() const { return private_; }

  /// True once two processes in a row took the listening socket and did not answer over their private
  /// connection. The first one may only have been slow.
  [[nodiscard]] bool only_at_endpoint() const { return without_private_ > 1; }

  [[nodiscard]] bool settled() const { return settled_; }

  /// The process ended by itself, bound the path itself or never answered. True if the other alternative is
  /// tried next.
  [[nodiscard]] bool failed(const std::string& why) {
    if (settled_ || mode_ != HandoverMode::automatic) return false;
    if (hand_down_) why_not_ = why;
    hand_down_ = !hand_down_;
    return true;
  }

  /// For people: "handed down by the supervisor (not confirmed yet)".
  [[nodiscard]] std::string text() const {
    const std::string proven = settled_ ? "" : " (not confirmed yet)";
    if (hand_down_) {
      return "handed down by the supervisor" + proven +
             (settled_ && !private_ ? "; the plugin does not answer on the descriptor 'probe'" : "");
    }
    if (mode_ == HandoverMode::off) return "bound by the plugin, as asked (--handover off)" + proven;
    return "bound by the plugin, which did not take the supervisor's socket: " + why_not_ +
           (settled_ && !tried_again_ ? "; the supervisor offers its socket once more at the next start"
                                      : proven);
  }

 private:
  HandoverMode mode_;
  bool hand_down_;
  bool settled_ = false;  ///< a process has answered
  bool private_ = false;
  unsigned without_private_ = 0;
  bool tried_again_ = false;  ///< after a process that had bound its own socket
  std::string why_not_;
};

}  // namespace kms::supervisor
