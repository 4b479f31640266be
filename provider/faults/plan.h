// FaultPlan decides which faults apply to a call. It reads no clock: the caller passes the time.
//
// One thread uses it at a time (Faults guards it). Chance comes from the seed, the fault's name and the
// number of calls that the fault has matched: the same seed and the same calls give the same faults, whatever
// other faults do in between.
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

/// The properties of a call that faults select by.
struct IncomingCall {
  mock_kms::v1::Fault::Method method;
  std::string_view uid;
  std::string_view key_id;
};

/// The effects on one call. Without a fault everything is empty.
struct FaultDecision {
  std::string names;  ///< of the faults, separated by ", "
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

  /// Adds a complete fault (complete_fault()). It replaces the fault of the same name and origin. Its time
  /// counts from `now`. The reply has its name and tells if it applies to this node and instance.
  mock_kms::v1::AddFaultReply add(mock_kms::v1::Fault fault, Time now,
                                  Origin origin = mock_kms::v1::FaultUse::COMMAND);

  /// Removes the origin's fault of this name, or all of its faults if the name is empty. Returns the number.
  std::uint32_t clear(std::string_view name, Origin origin = mock_kms::v1::FaultUse::COMMAND);

  /// Replaces all faults of the origin by these complete ones with different names. A fault that was there
  /// with the same fields keeps its time and counts.
  void declare(const std::vector<mock_kms::v1::Fault>& faults, Time now, Origin origin);

  [[nodiscard]] mock_kms::v1::FaultList list(Time now) const;

  struct Ended {
    std::string name;
    Duration lasted;
    Time at;
  };
  /// The faults whose time has passed, each once.
  [[nodiscard]] std::vector<Ended> take_ended(Time now);

  /// True if a fault is set that applies to this node and instance.
  [[nodiscard]] bool any() const;

  [[nodiscard]] bool grows_memory() const;

  /// Counts the call and returns its effects. Faults apply by origin (commands, then the scenario, then the
  /// file), and in one origin in the order in which they were set. The first fault that sets a field wins.
  [[nodiscard]] FaultDecision decide(const IncomingCall& call, Time now);

 private:
  struct ActiveFault {
    mock_kms::v1::Fault fault;
    Origin origin = mock_kms::v1::FaultUse::COMMAND;
    bool applies_here = true;
    bool replaced = false;   ///< by one of the same name and a stronger origin
    bool end_taken = false;  ///< by take_ended()
    Time since;
    std::uint64_t matched = 0;
    std::uint64_t applied = 0;
    double tokens = 0;  ///< of a rate limit
    Time refilled;
  };

  [[nodiscard]] bool has(std::string_view name) const;
  void mark_replaced();
  [[nodiscard]] static std::optional<Time> end_of(const ActiveFault& active);
  [[nodiscard]] static mock_kms::v1::FaultUse::State state_of(const ActiveFault& active, Time now);
  [[nodiscard]] static bool in_time(const ActiveFault& active, Time now);
  [[nodiscard]] bool hits(const ActiveFault& active) const;
  [[nodiscard]] double chance(const ActiveFault& active, std::uint64_t purpose) const;
  [[nodiscard]] Duration delay_of(const ActiveFault& active) const;
  static bool take_token(ActiveFault& active, Time now);
  bool apply(ActiveFault& active, Time now, FaultDecision& decision) const;

  std::uint64_t seed_;
  std::string node_;
  std::string instance_;
  std::vector<ActiveFault> faults_;  ///< by origin
  std::uint32_t next_name_ = 1;
};

}  // namespace kms::provider
