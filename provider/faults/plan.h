// FaultPlan decides which faults a call meets. It knows no gRPC, clock, thread or log: time is told to it.
//
// Used by one thread at a time (Faults guards it). Chance is drawn from the seed, the fault's name and the
// number of the call among those that the fault matched, so that the same seed and the same calls meet the
// same faults, however calls to other faults fall in between.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/text/time.h"
#include "proto/provider_control.pb.h"

namespace kms::provider {

/// What is known of a call when it comes.
struct IncomingCall {
  mock_kms::v1::Fault::Method method;
  std::string_view uid;
  std::string_view key_id;
};

/// What a call meets; without any fault all of it is empty.
struct FaultDecision {
  std::string names;  ///< of the faults, with ", " in between
  Duration delay{0};
  bool hang = false;
  std::optional<std::pair<int, std::string>> error;  ///< gRPC's code and the message
  std::optional<std::string> healthz;
  std::optional<std::string> version;
  std::vector<mock_kms::v1::Fault::Violation> violations;
  mock_kms::v1::Fault::Drop drop = mock_kms::v1::Fault::DROP_UNSPECIFIED;
  std::optional<mock_kms::v1::Fault::Crash> crash;
  bool freeze = false;
  std::uint32_t grow_mib = 0;
  std::uint32_t grow_max_mib = 0;
};

class FaultPlan {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Origin = mock_kms::v1::FaultUse::Origin;

  FaultPlan(std::uint64_t seed, std::string node, std::string instance)
      : seed_(seed), node_(std::move(node)), instance_(std::move(instance)) {}

  /// Takes a complete fault (complete_fault()), in place of the one of the same name and origin; it counts
  /// its time from `now`. Its name, and whether it concerns this node and instance.
  mock_kms::v1::AddFaultReply add(mock_kms::v1::Fault fault, Time now,
                                  Origin origin = mock_kms::v1::FaultUse::COMMAND);

  /// Removes the fault of the name, or all for an empty one; how many. Those of other origins stay.
  std::uint32_t clear(std::string_view name, Origin origin = mock_kms::v1::FaultUse::COMMAND);

  /// Makes these (complete, with names that differ) the faults of the origin. One that was there already, in
  /// every field the same, goes on where it was.
  void declare(const std::vector<mock_kms::v1::Fault>& faults, Time now, Origin origin);

  [[nodiscard]] mock_kms::v1::FaultList list(Time now) const;

  /// Whether any fault is set that concerns this node and instance.
  [[nodiscard]] bool any() const;

  /// Whether a fault is set that takes memory.
  [[nodiscard]] bool grows_memory() const;

  /// Counts the call, and says what it meets. Faults apply by origin (a command's, the scenario's, the
  /// file's), and of one origin in the order in which they were set; of two that set the same thing the first
  /// counts.
  [[nodiscard]] FaultDecision decide(const IncomingCall& question, Time now);

 private:
  struct ActiveFault {
    mock_kms::v1::Fault fault;
    Origin origin = mock_kms::v1::FaultUse::COMMAND;
    bool applies_here = true;
    bool replaced = false;  ///< one of the same name and an origin that counts more is there
    Time since;
    std::uint64_t matched = 0;
    std::uint64_t applied = 0;
    double tokens = 0;  ///< of a rate limit
    Time refilled;
  };

  [[nodiscard]] bool has(std::string_view name) const;
  void mark_replaced();
  [[nodiscard]] static bool in_time(const ActiveFault& active, Time now);
  [[nodiscard]] bool hits(const ActiveFault& active) const;
  [[nodiscard]] double chance(const ActiveFault& active, std::uint64_t purpose) const;
  [[nodiscard]] Duration delay_of(const ActiveFault& active) const;
  static bool takes_token(ActiveFault& active, Time now);
  bool apply(ActiveFault& active, Time now, FaultDecision& decision) const;

  std::uint64_t seed_;
  std::string node_;
  std::string instance_;
  std::vector<ActiveFault> faults_;  ///< by origin
  std::uint32_t next_name_ = 1;
};

}  // namespace kms::provider
