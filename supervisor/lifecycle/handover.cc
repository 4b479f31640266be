#include "supervisor/lifecycle/handover.h"

#include <utility>

namespace kms::supervisor {

void Handover::next_process() {
  if (settled_ && hand_down_ && !private_) ++without_private_;
  if (!settled_ || hand_down_ || mode_ != HandoverMode::automatic || std::exchange(tried_again_, true))
    return;
  settled_ = false;
  hand_down_ = true;
}

bool Handover::failed(const std::string& why) {
  if (settled_ || mode_ != HandoverMode::automatic) return false;
  if (hand_down_) why_not_ = why;
  hand_down_ = !hand_down_;
  return true;
}

std::string Handover::text() const {
  const std::string proven = settled_ ? "" : " (not proven yet)";
  if (hand_down_) {
    return "handed down by the supervisor" + proven +
           (settled_ && !private_ ? "; the plugin does not answer on the descriptor 'probe'" : "");
  }
  if (mode_ == HandoverMode::off) return "bound by the plugin, as asked (--handover off)" + proven;
  return "bound by the plugin, which did not take the supervisor's socket: " + why_not_ +
         (settled_ && !tried_again_ ? "; it is offered once more at the next start" : proven);
}

}  // namespace kms::supervisor
