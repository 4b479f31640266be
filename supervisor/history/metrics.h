// Metrics counts what became of each instance, for Prometheus.
//
// Owned by the Supervisor. Counted on the loop's thread; text() is called on the metrics server's. It never
// decides anything; its memory is bounded by the number of instances.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "common/text/time.h"
#include "supervisor/lifecycle/events.h"

namespace kms::supervisor {

class Metrics {
 public:
  /// Upper bounds of the latencies' classes, in seconds; a last one has none.
  static constexpr std::array latency_bounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                             0.025,  0.05,    0.1,    0.25,  0.5,    1.0};

  /// From now on the instance is listed. `endpoint` is where its plugin serves.
  void add(unsigned instance, const std::string& endpoint);

  void ready(unsigned instance, bool ready);
  void healthy(unsigned instance, bool healthy);

  /// A process has ended, or could not be started.
  void ended(unsigned instance, EndCause cause, bool out_of_memory);

  void outage(unsigned instance, Duration duration);
  void answered(unsigned instance, Duration latency);
  void silent(unsigned instance);

  /// All of it in Prometheus' text format.
  [[nodiscard]] std::string text() const;

 private:
  struct Counts {
    std::string labels;  ///< as they stand in the text
    bool ready = false;
    bool healthy = false;
    std::map<std::string, std::uint64_t> ends;  ///< by cause
    std::uint64_t outages = 0;
    double outage_seconds = 0;
    std::array<std::uint64_t, latency_bounds.size() + 1> latencies{};
    double latency_seconds = 0;
    std::uint64_t silent = 0;
  };

  mutable std::mutex mutex_;
  std::map<unsigned, Counts> instances_;
};

}  // namespace kms::supervisor
