// Health keeps the results of one process' probes. It decides nothing.
//
// Owned by the PluginProcess, used on the loop's thread.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>

#include "proto/supervisor_control.pb.h"
#include "supervisor/probe/probe.h"

namespace kms::supervisor {

class Health {
 public:
  using WallTime = std::chrono::system_clock::time_point;
  using Time = std::chrono::steady_clock::time_point;  ///< for durations
  static constexpr std::size_t kept_latencies = 256;
  static constexpr std::size_t recent_latencies = 32;  ///< of these, shown by a status
  static constexpr std::size_t max_text = 2048;        ///< bytes kept of each text in an answer

  /// An answer that takes longer than `slow_after` is a slow one; 0: none is.
  explicit Health(Duration slow_after) : slow_after_(slow_after) {}

  void note(const ProbeResult& result, WallTime wall_now, Time now);
  void note_ready(Duration after) { time_to_ready_ = after; }

  /// True if a Status has come from the process so far. An error alone does not show that it lives: a
  /// connection that broke looks like one.
  [[nodiscard]] bool answered() const { return answered_; }

  /// True if the last probe got an answer that keeps the contract.
  [[nodiscard]] bool good() const { return failures_in_a_row_ == 0 && answer_ && fault().empty(); }

  /// The fault in the last answers; "" if there is none.
  [[nodiscard]] std::string fault() const;

  /// True if the last answer took longer than `slow_after`.
  [[nodiscard]] bool slow() const { return slow_; }

  /// The time that the last answer took.
  [[nodiscard]] Duration latency() const { return latencies_.empty() ? Duration{0} : latencies_.back(); }

  /// The last good key_id, "" before the first.
  [[nodiscard]] const std::string& key_id() const { return key_id_; }

  /// When the last good Status came.
  [[nodiscard]] std::optional<Time> good_at() const { return good_at_; }

  /// Why it is not good().
  [[nodiscard]] std::string reason() const;

  /// Fills probe, deep_probe and answer.
  void fill(mock_kms::v1::SupervisorStatus& status) const;

 private:
  void note_answer(const ProbeAnswer& answer, WallTime wall_now, Time now);
  void note_deep(const DeepAnswer& answer, WallTime now);
  void fill_latencies(mock_kms::v1::Probe& probe) const;

  Duration slow_after_;
  std::optional<ProbeAnswer> answer_;
  std::string fault_;  ///< of the last Status, "" for none
  std::optional<DeepAnswer> deep_answer_;
  std::optional<WallTime> probed_at_;
  std::optional<WallTime> deep_at_;
  std::optional<Time> good_at_;
  std::optional<Duration> time_to_ready_;
  std::deque<Duration> latencies_;
  std::string key_id_;
  std::string previous_key_id_;
  WallTime key_id_since_;
  bool answered_ = false;
  bool slow_ = false;
  unsigned failures_in_a_row_ = 0;
  std::string last_failure_;
};

}  // namespace kms::supervisor
