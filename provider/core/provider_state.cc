#include "provider/server/metrics.h"

#include "common/crypto/sha256.h"
#include "common/metrics/metrics.h"

namespace kms::provider {
namespace {

using mock_kms::v1::FaultUse;

void write_calls(const mock_kms::v1::CallCounts& counts, MetricsText& text) {
  const auto labels = [](const mock_kms::v1::CallCount& count) {
    return metrics_label("method", count.method()) + "," + metrics_label("code", count.code());
  };
  text.family("mock_kms_calls_total", "counter",
              "Calls by method and gRPC code; HUNG: kept without an answer.");
  for (const auto& count : counts.counts()) {
    text.sample("mock_kms_calls_total", labels(count), std::to_string(count.calls()));
  }
  text.family("mock_kms_faulted_calls_total", "counter", "Of those the ones that met an injected fault.");
  for (const auto& count : counts.counts()) {
    text.sample("mock_kms_faulted_calls_total", labels(count), std::to_string(count.faulted()));
  }
}

void write_latencies(const std::vector<Journal::Latencies>& all, MetricsText& text) {
  constexpr auto name = "mock_kms_call_duration_seconds";
  text.family(name, "histogram", "Time inside the provider from the request to the answer.");
  for (const Journal::Latencies& one : all) {
    text.histogram(name, metrics_label("method", one.method) + "," + metrics_label("code", one.code),
                   one.histogram);
  }
}

void write_faults(const mock_kms::v1::FaultList& faults, MetricsText& text) {
  text.family("mock_kms_fault_applied_total", "counter", "Calls that met a fault which is set now.");
  for (const FaultUse& use : faults.faults()) {
    text.sample("mock_kms_fault_applied_total",
                metrics_label("fault", use.fault().name()) + "," +
                    metrics_label("origin", FaultUse::Origin_Name(use.origin())),
                std::to_string(use.applied()));
  }
}

void write_key(const mock_kms::v1::KeyState& state, MetricsText& text) {
  text.family("mock_kms_key_version", "gauge", "Version of the key that is current.");
  text.sample("mock_kms_key_version", "", std::to_string(state.current()));
  text.family("mock_kms_key_info", "gauge", "Always 1; the current key id as its SHA-256.");
  for (const auto& use : state.uses()) {
    if (!use.current()) continue;
    text.sample("mock_kms_key_info",
                metrics_label("key_id_hash", "sha256:" + sha256_hex(bytes_of(use.key_id()))), "1");
  }
}

}  // namespace

std::string metrics_text(const Journal& journal, const Faults& faults, const KeyVersions& versions) {
  MetricsText text;
  mock_kms::v1::CallCounts counts;
  journal.count_all(counts);
  write_calls(counts, text);
  write_latencies(journal.latencies(), text);
  write_faults(faults.list(), text);
  write_key(versions.state(), text);
  return text.take();
}

}  // namespace kms::provider
