#include "provider/core/provider_state.h"

#include <cstdlib>
#include <optional>

#include "common/crypto/sha256.h"
#include "common/log/log.h"
#include "common/metrics/metrics.h"

namespace kms::provider {
namespace {

using mock_kms::v1::FaultUse;

std::string node_name() {
  const char* name = std::getenv("NODE_NAME");
  return name == nullptr ? "" : name;
}

std::optional<StateFile> state_file(const ProviderState::Options& options) {
  if (options.state_dir.empty()) return std::nullopt;
  return StateFile(options.state_dir, options.instance);
}

void write_calls(const mock_kms::v1::CallCounts& counts, MetricsText& text) {
  const auto labels = [](const mock_kms::v1::CallCount& count) {
    return metrics_label("method", count.method()) + "," + metrics_label("code", count.code());
  };
  text.family("mock_kms_calls_total", "counter",
              "Calls by method and gRPC code; HUNG: left without an answer.");
  for (const auto& count : counts.counts()) {
    text.sample("mock_kms_calls_total", labels(count), std::to_string(count.calls()));
  }
  text.family("mock_kms_faulted_calls_total", "counter",
              "Calls that met an injected fault, by method and gRPC code.");
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
  text.family("mock_kms_fault_applied_total", "counter",
              "Calls that met a fault, for each fault that is set now.");
  for (const FaultUse& use : faults.faults()) {
    text.sample("mock_kms_fault_applied_total",
                metrics_label("fault", use.fault().name()) + "," +
                    metrics_label("origin", FaultUse::Origin_Name(use.origin())),
                std::to_string(use.applied()));
  }
}

void write_key(const mock_kms::v1::KeyState& state, MetricsText& text) {
  text.family("mock_kms_key_version", "gauge", "Version of the current key.");
  text.sample("mock_kms_key_version", "", std::to_string(state.current()));
  text.family("mock_kms_key_info", "gauge", "Always 1; the label is the SHA-256 of the current key id.");
  for (const auto& use : state.uses()) {
    if (!use.current()) continue;
    text.sample("mock_kms_key_info",
                metrics_label("key_id_hash", "sha256:" + sha256_hex(bytes_of(use.key_id()))), "1");
  }
}

}  // namespace

ProviderState::ProviderState(Options options, const process::SignalFd& stop_signals)
    : stop(stop_signals),
      node(node_name()),
      keys(std::move(options.seed), options.instance, options.key_version, options.key_id_format),
      versions(
          keys, state_file(options),
          [this](const KeyVersions::Rotation& rotation) {
            const std::string& key_id = keys.at(rotation.to)->id_text;
            log::info("rotated the key", {{"from", rotation.from}, {"to", rotation.to}, {"key_id", key_id}});
            journal.note("rotated the key from version " + std::to_string(rotation.from) + " to " + key_id);
          }),
      faults(FaultPlan(options.random_seed, node, options.instance)) {
  versions.load();
}

void ProviderState::note_ended_faults() {
  for (const auto& [name, lasted, at] : faults.take_ended()) {
    log::info("a fault is over", {{"fault", name}, {"lasted", go_duration(lasted)}});
    journal.note("fault " + name + " is over after " + go_duration(lasted), at);
  }
}

std::string metrics_text(const ProviderState& state) {
  MetricsText text;
  mock_kms::v1::CallCounts counts;
  state.journal.count_all(counts, true);
  write_calls(counts, text);
  write_latencies(state.journal.latencies(), text);
  write_faults(state.faults.list(), text);
  write_key(state.versions.state(), text);
  return text.take();
}

}  // namespace kms::provider
