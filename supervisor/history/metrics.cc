#include "supervisor/history/metrics.h"

namespace kms::supervisor {
namespace {

constexpr auto prefix = "kms_supervisor_";

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

const char* name_of(EndCause cause, bool out_of_memory) {
  switch (cause) {
    case EndCause::exited:
      return out_of_memory ? "out_of_memory" : "exited";
    case EndCause::unresponsive:
      return "unresponsive";
    case EndCause::never_ready:
      return "never_ready";
    case EndCause::unhealthy:
      return "unhealthy";
    case EndCause::stop_requested:
      return "stop";
    case EndCause::replaced:
      return "planned_restart";
    case EndCause::launch_failed:
      return "launch_failed";
  }
  return "";
}

}  // namespace

void Metrics::add(unsigned instance, const std::string& endpoint) {
  const std::lock_guard lock(mutex_);
  instances_[instance].labels =
      metrics_label("instance", std::to_string(instance)) + "," + metrics_label("endpoint", endpoint);
}

void Metrics::ready(unsigned instance, bool ready) {
  const std::lock_guard lock(mutex_);
  instances_[instance].ready = ready;
}

void Metrics::healthy(unsigned instance, bool healthy) {
  const std::lock_guard lock(mutex_);
  instances_[instance].healthy = healthy;
}

void Metrics::ended(unsigned instance, EndCause cause, bool out_of_memory) {
  const std::lock_guard lock(mutex_);
  ++instances_[instance].ends[name_of(cause, out_of_memory)];
}

void Metrics::outage(unsigned instance, Duration duration) {
  const std::lock_guard lock(mutex_);
  ++instances_[instance].outages;
  instances_[instance].outage_seconds += seconds(duration);
}

void Metrics::answered(unsigned instance, Duration latency) {
  const std::lock_guard lock(mutex_);
  instances_[instance].latency.observe(latency);
}

void Metrics::unresponsive(unsigned instance) {
  const std::lock_guard lock(mutex_);
  ++instances_[instance].unresponsive;
}

std::string Metrics::text() const {
  const std::lock_guard lock(mutex_);
  MetricsText text;
  const auto each = [&](const std::string& name, const char* type, const char* help, const auto& value) {
    text.family(prefix + name, type, help);
    for (const auto& [number, counts] : instances_) text.sample(prefix + name, counts.labels, value(counts));
  };
  each("up", "gauge", "1 while the plugin serves.", [](const Counts& c) { return c.ready ? "1" : "0"; });
  each("healthy", "gauge", "1 while the plugin serves and its last answer was good.",
       [](const Counts& c) { return c.ready && c.healthy ? "1" : "0"; });
  each("outages_total", "counter", "Outages after the first process was ready.",
       [](const Counts& c) { return std::to_string(c.outages); });
  each("outage_seconds_total", "counter", "Seconds of outage.",
       [](const Counts& c) { return metrics_number(c.outage_seconds); });
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
