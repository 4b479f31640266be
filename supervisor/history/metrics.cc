#include "supervisor/history/metrics.h"

#include <algorithm>
#include <array>

#include "supervisor/lifecycle/lifecycle.h"

namespace kms::supervisor {
namespace {

constexpr auto prefix = "kms_supervisor_";

const char* name_of(EndCause cause, bool out_of_memory) {
  if (cause == EndCause::exited && out_of_memory) return "out_of_memory";
  // In the order of EndCause.
  static constexpr std::array names{"exited", "unresponsive",    "never_ready",  "unhealthy",
                                    "stop",   "planned_restart", "launch_failed"};
  static_assert(names.size() == static_cast<std::size_t>(EndCause::launch_failed) + 1);
  return names.at(static_cast<std::size_t>(cause));
}

}  // namespace

void Metrics::add(unsigned instance, const std::string& endpoint) {
  update(instance, [&](Counts& counts) {
    counts.labels =
        metrics_label("instance", std::to_string(instance)) + "," + metrics_label("endpoint", endpoint);
    for (int cause = 0; cause <= static_cast<int>(EndCause::launch_failed); ++cause)
      counts.ends[name_of(static_cast<EndCause>(cause), false)] = 0;
    counts.ends[name_of(EndCause::exited, true)] = 0;
  });
}

void Metrics::ended(unsigned instance, EndCause cause, bool out_of_memory) {
  update(instance, [&](Counts& counts) { ++counts.ends[name_of(cause, out_of_memory)]; });
}

std::string Metrics::text(std::chrono::steady_clock::time_point now) const {
  const std::lock_guard lock(mutex_);
  MetricsText text;
  const auto each = [&](const std::string& name, const char* type, const char* help, const auto& value) {
    text.family(prefix + name, type, help);
    for (const auto& [number, counts] : instances_) text.sample(prefix + name, counts.labels, value(counts));
  };
  each("up", "gauge", "1 while the plugin serves.", [](const Counts& c) { return c.ready ? "1" : "0"; });
  each("healthy", "gauge", "1 while the plugin serves and its last answer was good.",
       [](const Counts& c) { return c.ready && c.healthy ? "1" : "0"; });
  const std::string lease = std::string(prefix) + "lease_seconds";
  text.family(lease, "gauge", "Seconds until the API server refuses to write, 180 after a good Status.");
  for (const auto& [number, counts] : instances_) {
    if (!counts.good_at) continue;
    const Duration left = std::max<Duration>(write_lease - (now - *counts.good_at), Duration{0});
    text.sample(lease, counts.labels, metrics_number(std::chrono::duration<double>(left).count()));
  }
  each("outages_total", "counter", "Outages after the first process was ready.",
       [](const Counts& c) { return std::to_string(c.outages); });
  each("outage_seconds_total", "counter", "Seconds of outage.",
       [](const Counts& c) { return metrics_number(std::chrono::duration<double>(c.outage_time).count()); });
  each("unresponsive_probes_total", "counter", "Probes without an answer, including those during a start.",
       [](const Counts& c) { return std::to_string(c.unresponsive); });
  const std::string ends = std::string(prefix) + "ends_total";
  text.family(ends, "counter", "Processes that ended, by cause.");
  for (const auto& [number, counts] : instances_) {
    for (const auto& [cause, count] : counts.ends)
      text.sample(ends, counts.labels + "," + metrics_label("cause", cause), std::to_string(count));
  }
  const std::string latency = std::string(prefix) + "probe_duration_seconds";
  text.family(latency, "histogram", "Time from a Status probe to its answer.");
  for (const auto& [number, counts] : instances_) text.histogram(latency, counts.labels, counts.latency);
  return text.take();
}

}  // namespace kms::supervisor
