// Metrics counts what happens to each instance, for Prometheus.
//
// The Supervisor owns it. The loop's thread counts, the metrics server's thread calls text(). Its memory is
// bounded by the number of instances.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "common/metrics/metrics.h"
#include "common/text/time.h"
#include "supervisor/lifecycle/events.h"

namespace kms::supervisor {

class Metrics {
 public:
  /// Lists the instance from now on. `endpoint` is where its plugin serves.
  void add(unsigned instance, const std::string& endpoint);

  void ready(unsigned instance, bool ready) {
    update(instance, [&](Counts& counts) { counts.ready = ready; });
  }
  void healthy(unsigned instance, bool healthy) {
    update(instance, [&](Counts& counts) { counts.healthy = healthy; });
  }

  /// The plugin gave a good Status at `now`: the API server's lease starts again.
  void lease_renewed(unsigned instance, std::chrono::steady_clock::time_point now) {
    update(instance, [&](Counts& counts) { counts.good_at = now; });
  }

  /// A process has ended, or could not be started.
  void ended(unsigned instance, EndCause cause, bool out_of_memory);

  void outage(unsigned instance, Duration duration) {
    update(instance, [&](Counts& counts) {
      ++counts.outages;
      counts.outage_time += duration;
    });
  }

  // Probes.
  void answered(unsigned instance, Duration latency) {
    update(instance, [&](Counts& counts) { counts.latency.observe(latency); });
  }
  void unresponsive(unsigned instance) {
    update(instance, [](Counts& counts) { ++counts.unresponsive; });
  }

  /// Prometheus' text format, with the lease as it is at `now`.
  [[nodiscard]] std::string text(
      std::chrono::steady_clock::time_point now = std::chrono::steady_clock::now()) const;

 private:
  struct Counts {
    std::string labels;  ///< as they stand in the text
    bool ready = false;
    bool healthy = false;
    std::optional<std::chrono::steady_clock::time_point> good_at;  ///< the last good Status
    std::map<std::string, std::uint64_t> ends;                     ///< by cause
    std::uint64_t outages = 0;
    Duration outage_time{0};
    std::uint64_t unresponsive = 0;
    LatencyHistogram latency;
  };

  template <class Change>
  void update(unsigned instance, Change change) {
    const std::lock_guard lock(mutex_);
    change(instances_[instance]);
  }

  mutable std::mutex mutex_;
  std::map<unsigned, Counts> instances_;
};

}  // namespace kms::supervisor
