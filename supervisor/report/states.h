// StateTrack derives from one plugin's events in which state it was at each time.
//
// One thread uses it. The events come in their order; some may be missing at the beginning.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "proto/report.pb.h"
#include "proto/supervisor_control.pb.h"

namespace kms::supervisor::report {

using WallTime = std::chrono::system_clock::time_point;

struct StateSpan {
  std::string kind;  ///< serving, starting, outage, unresponsive, unhealthy, paused, stopped
  WallTime from;
  WallTime to;
  std::string text;
  bool open = false;
};

/// True if clients wait in this state although nobody asked for it.
[[nodiscard]] inline bool is_outage(const StateSpan& span) {
  return span.kind == "outage" || span.kind == "unresponsive";
}

class StateTrack {
 public:
  void add(const mock_kms::v1::Event& event);

  /// Ends the last span at `end`. `status` says in which state the plugin was then; nullptr: nobody knows.
  void finish(WallTime end, const mock_kms::v1::SupervisorStatus* status);

  [[nodiscard]] const std::vector<StateSpan>& spans() const { return spans_; }

 private:
  void enter(const std::string& kind, WallTime at, const std::string& text);
  void ended(const mock_kms::v1::Event& event, WallTime at);
  void outage_over(const mock_kms::v1::Event& event, WallTime at);

  std::vector<StateSpan> spans_;
  std::uint32_t pid_ = 0;  ///< of the active process; 0: not known
  bool stopping_ = false;  ///< somebody asked for a pause
};

}  // namespace kms::supervisor::report
