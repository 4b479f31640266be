// StateTrack derives from one plugin's events in which state it was at each time.
//
// One thread uses it. The events come in their order; some may be missing at the beginning.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "common/text/protobuf.h"
#include "proto/report.pb.h"
#include "proto/supervisor_control.pb.h"

namespace kms::supervisor::report {

using WallTime = std::chrono::system_clock::time_point;

inline constexpr auto earliest = WallTime(std::chrono::hours(24 * 365 * 30));  ///< about the year 2000
inline constexpr auto latest = WallTime(std::chrono::hours(24 * 365 * 130));

/// False for a damaged time.
[[nodiscard]] inline bool plausible(WallTime at) { return earliest < at && at < latest; }
[[nodiscard]] inline bool plausible(const google::protobuf::Timestamp& at) {
  return plausible(from_proto(at));
}

struct StateSpan {
  std::string kind;  ///< serving, starting, outage, unresponsive, unhealthy, paused, stopped, unknown
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

  /// When the active process ended, or another one took over.
  [[nodiscard]] const std::vector<WallTime>& process_ends() const { return process_ends_; }

 private:
  void handle(const mock_kms::v1::Event& event, WallTime at);
  void enter(const std::string& kind, WallTime at, const std::string& text);
  void launched(const mock_kms::v1::Event& event, WallTime at);
  void ended(const mock_kms::v1::Event& event, WallTime at);
  void outage_over(const mock_kms::v1::Event& event, WallTime at);

  std::vector<StateSpan> spans_;
  std::vector<WallTime> process_ends_;
  WallTime seen_at_;       ///< the last event
  std::uint32_t pid_ = 0;  ///< of the active process; 0: not known
  bool stopping_ = false;  ///< somebody asked for a pause
};

}  // namespace kms::supervisor::report
