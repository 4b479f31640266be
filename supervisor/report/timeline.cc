#include "supervisor/report/timeline.h"

#include <algorithm>
#include <array>
#include <set>

#include "common/text/protobuf.h"
#include "supervisor/lifecycle/lifecycle.h"
#include "supervisor/report/faults.h"
#include "supervisor/report/states.h"
#include "supervisor/report/verdict.h"

namespace kms::supervisor::report {
namespace {

using mock_kms::v1::CallRecord;
using mock_kms::v1::Event;
using mock_kms::v1::PluginReport;
using mock_kms::v1::Report;
using mock_kms::v1::Span;
using mock_kms::v1::SupervisorStatus;
using mock_kms::v1::TimelineEntry;
using namespace std::chrono_literals;

constexpr int max_buckets = 120;
/// The evidence of one plugin, before it is drawn on a common axis.
struct Source {
  const PodEvidence* pod;
  unsigned instance = 0;
  const SupervisorStatus* status = nullptr;
  std::vector<const Event*> events = {};
  std::vector<const CallRecord*> journal = {};
  WallTime begin = latest;
  WallTime end = earliest;

  void cover(const google::protobuf::Timestamp& at) {
    if (!plausible(at)) return;
    begin = std::min(begin, from_proto(at));
    end = std::max(end, from_proto(at));
  }
};

const SupervisorStatus* status_of(const PodEvidence& pod, unsigned instance) {
  if (!pod.status) return nullptr;
  for (const auto& one : pod.status->instances()) {
    if (one.instance() == instance) return &one;
  }
  return pod.status->instances_size() == 0 ? &*pod.status : nullptr;
}

std::vector<Source> sources_of(const PodEvidence& pod) {
  std::set<unsigned> instances;
  if (pod.status) {
    for (const auto& one : pod.status->instances()) instances.insert(one.instance());
  }
  for (const Event& event : pod.events) {
    if (event.instance() > 0) instances.insert(event.instance());
  }
  if (instances.empty()) instances.insert(0);
  std::vector<Source> sources;
  for (const unsigned instance : instances) {
    Source source{&pod, instance, status_of(pod, instance)};
    for (const Event& event : pod.events) {
      if ((event.instance() == instance || event.instance() == 0) && plausible(event.at()))
        source.events.push_back(&event);
    }
    // The step reads one journal of a pod: that of the first instance.
    if (sources.empty()) {
      for (const CallRecord& call : pod.journal) {
        if (plausible(call.at())) source.journal.push_back(&call);
      }
    }
    const auto by_time = [](const auto* a, const auto* b) {
      return from_proto(a->at()) < from_proto(b->at());
    };
    std::stable_sort(source.events.begin(), source.events.end(), by_time);
    std::stable_sort(source.journal.begin(), source.journal.end(), by_time);
    for (const Event* event : source.events) source.cover(event->at());
    for (const CallRecord* call : source.journal) source.cover(call->at());
    if (source.status != nullptr) {
      source.cover(source.status->since());
      source.cover(source.status->probe().at());
      source.cover(source.status->at());
    }
    sources.push_back(std::move(source));
  }
  return sources;
}

void add_span(google::protobuf::RepeatedPtrField<Span>& spans, const std::string& kind, WallTime from,
              WallTime to, const std::string& text, bool open) {
  Span& span = *spans.Add();
  span.set_kind(kind);
  *span.mutable_from() = to_timestamp(from);
  *span.mutable_to() = to_timestamp(to);
  span.set_text(text);
  span.set_open(open);
}

/// The lease falls from 180 s whenever no good Status comes. Nothing is known of it while nothing was
/// recorded.
void add_lease(PluginReport& plugin, const std::vector<StateSpan>& spans) {
  const auto point = [&](WallTime at, Duration left) {
    auto& added = *plugin.add_lease();
    *added.mutable_at() = to_timestamp(at);
    *added.mutable_left() = to_proto(left);
  };
  Duration lowest = write_lease;
  bool is_known = false;  // the last good Status was recorded
  bool ever = false;
  WallTime good;  // the last good Status
  for (const StateSpan& span : spans) {
    if (span.kind == "serving") {
      if (!is_known || good < span.from) point(span.from, write_lease);
      is_known = ever = true;
      good = span.to;
      point(span.to, write_lease);
    } else if (span.kind == "unknown") {
      is_known = false;
    } else if (is_known) {
      const Duration left = std::max<Duration>(write_lease - (span.to - good), Duration{0});
      if (left == Duration{0} && from_proto(plugin.lease(plugin.lease_size() - 1).left()) > Duration{0})
        point(good + std::chrono::duration_cast<WallTime::duration>(write_lease), Duration{0});
      point(span.to, left);
      lowest = std::min(lowest, left);
    }
  }
  if (ever) *plugin.mutable_lowest_lease() = to_proto(lowest);
}

/// Returns the ends of the active process.
std::vector<WallTime> add_states(PluginReport& plugin, const Source& source) {
  StateTrack track;
  for (const Event* event : source.events) track.add(*event);
  track.finish(source.end, source.status);
  for (const StateSpan& span : track.spans())
    add_span(*plugin.mutable_states(), span.kind, span.from, span.to, span.text, span.open);
  add_lease(plugin, track.spans());
  return track.process_ends();
}

/// "b" of "rotated the key from version 1 to b".
std::string key_of_rotation(const std::string& text) {
  constexpr std::string_view before = " to ";
  const std::size_t at = text.find(before);
  if (at == std::string::npos) return "";
  return text.substr(at + before.size(), text.find(' ', at + before.size()) - at - before.size());
}

/// Each good Status and Encrypt shows the current key. So do a rotation, and the supervisor where it sees
/// another key.
void add_keys(PluginReport& plugin, const Source& source) {
  std::vector<std::pair<WallTime, std::string>> seen;
  for (const Event* event : source.events) {
    if (event->kind() != mock_kms::v1::KEY_CHANGED) continue;
    if (seen.empty())
      seen.emplace_back(source.begin, event->details().count("from") > 0 ? event->details().at("from") : "");
    seen.emplace_back(from_proto(event->at()),
                      event->details().count("to") > 0 ? event->details().at("to") : "");
  }
  for (const CallRecord* call : source.journal) {
    if (call->code() == "OK" && (call->method() == "Status" || call->method() == "Encrypt"))
      seen.emplace_back(from_proto(call->at()), call->key_id());
    if (call->event().starts_with("rotated "))
      seen.emplace_back(from_proto(call->at()), key_of_rotation(call->event()));
  }
  if (source.status != nullptr && !source.status->answer().key_id().empty()) {
    const auto& since = source.status->answer().key_id_since();
    seen.emplace_back(plausible(since) ? from_proto(since) : source.end, source.status->answer().key_id());
  }
  std::stable_sort(seen.begin(), seen.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::erase_if(seen, [](const auto& one) { return one.second.empty(); });
  // The supervisor reports each change, so the first key that is known is that of the beginning.
  if (!seen.empty() && !source.events.empty())
    seen.front().first = std::min(seen.front().first, source.begin);
  const auto changes = std::unique(seen.begin(), seen.end(),
                                   [](const auto& a, const auto& b) { return a.second == b.second; });
  seen.erase(changes, seen.end());
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const bool last = i + 1 == seen.size();
    add_span(*plugin.mutable_keys(), seen[i].second, seen[i].first, last ? source.end : seen[i + 1].first, "",
             last);
  }
}

/// `process_ends` are those of the active process.
void add_faults(PluginReport& plugin, const Source& source, const std::vector<WallTime>& process_ends) {
  FaultTrack track(plugin);
  auto end = process_ends.begin();
  const auto processes_ended_until = [&](WallTime at) {
    for (; end != process_ends.end() && *end <= at; ++end) track.process_ended(*end);
  };
  for (const CallRecord* call : source.journal) {
    const WallTime at = from_proto(call->at());
    processes_ended_until(at);
    if (!call->event().empty()) track.change(call->event(), at);
    if (!call->fault().empty()) track.met(call->fault(), at);
  }
  processes_ended_until(source.end);
  track.finish(source.end, source.status);
}

/// The shortest usual length with which `max_buckets` cover the time.
Duration bucket_for(Duration covered) {
  static constexpr std::array<Duration, 16> lengths{1s,   2s,    5s,    10s,   15s, 30s, 1min, 2min,
                                                    5min, 10min, 15min, 30min, 1h,  2h,  6h,   24h};
  for (const Duration length : lengths) {
    if (covered <= length * max_buckets) return length;
  }
  return covered / max_buckets;
}

void add_calls(PluginReport& plugin, const Source& source, Duration bucket) {
  std::map<std::int64_t, mock_kms::v1::CallBucket> buckets;
  for (const CallRecord* call : source.journal) {
    if (call->method().empty()) continue;
    const Duration since_epoch = from_proto(call->at()).time_since_epoch();
    auto& one = buckets[since_epoch / bucket];
    if (call->method() == "Status")
      one.set_status(one.status() + 1);
    else if (call->method() == "Encrypt")
      one.set_encrypt(one.encrypt() + 1);
    else if (call->method() == "Decrypt")
      one.set_decrypt(one.decrypt() + 1);
    else
      one.set_other(one.other() + 1);
    if (call->code() != "OK") one.set_failed(one.failed() + 1);
    if (!call->fault().empty()) one.set_faulted(one.faulted() + 1);
  }
  for (auto& [number, one] : buckets) {
    *one.mutable_at() =
        to_timestamp(WallTime(std::chrono::duration_cast<WallTime::duration>(bucket * number)));
    *plugin.add_calls() = std::move(one);
  }
  const auto first = std::find_if(source.journal.begin(), source.journal.end(),
                                  [](const CallRecord* call) { return !call->method().empty(); });
  if (first != source.journal.end()) *plugin.mutable_journal_from() = (*first)->at();
}

void add_facts(PluginReport& plugin, const Source& source) {
  const PodEvidence& pod = *source.pod;
  plugin.set_node(pod.node);
  plugin.set_pod(pod.pod);
  plugin.set_instance(source.instance);
  if (source.end > earliest) *plugin.mutable_taken_at() = to_timestamp(source.end);
  if (pod.build) *plugin.mutable_build() = *pod.build;
  if (source.instance <= 1) {
    for (const auto& count : pod.counts) *plugin.add_counts() = count;
  }
  for (const auto& [cause, count] : pod.ends) {
    plugin.add_ends()->set_name(cause);
    plugin.mutable_ends(plugin.ends_size() - 1)->set_value(count);
  }
  if (source.status == nullptr) {
    plugin.set_reason(pod.build_failure.empty() ? "no supervisor reported a status" : pod.build_failure);
    return;
  }
  const SupervisorStatus& status = *source.status;
  plugin.set_reported(true);
  plugin.set_healthy(status.healthy());
  plugin.set_state(mock_kms::v1::State_Name(status.state()));
  plugin.set_reason(status.reason());
  plugin.set_restarts(status.restarts());
  plugin.set_key_id(status.answer().key_id());
  plugin.set_binary_sha256(status.binary().sha256());
  plugin.set_config_sha256(status.plugin_config().sha256());
  plugin.set_supervisor_version(pod.status->supervisor_version());
  if (status.has_lease_left()) *plugin.mutable_lease_left() = status.lease_left();
  if (!plugin.has_build() && status.binary().has_build()) *plugin.mutable_build() = status.binary().build();
}

std::string kind_of_change(const std::string& text) {
  if (text.starts_with("rotated ")) return "ROTATION";
  if (text.starts_with("configuration ")) return "CONFIGURATION";
  if (text.starts_with("scenario")) return "SCENARIO";
  if (text.find("fault") != std::string::npos) return "FAULT";
  return "CHANGE";
}

void add_entries(Report& report, const PluginReport& plugin, const Source& source) {
  const auto add = [&](const google::protobuf::Timestamp& at, const std::string& kind,
                       const std::string& text) -> TimelineEntry& {
    TimelineEntry& entry = *report.add_timeline();
    *entry.mutable_at() = at;
    entry.set_plugin(plugin.name());
    entry.set_kind(kind);
    entry.set_text(text);
    return entry;
  };
  for (const Event* event : source.events) {
    TimelineEntry& entry = add(event->at(), mock_kms::v1::EventKind_Name(event->kind()), event->text());
    *entry.mutable_details() = event->details();
    entry.set_pid(event->pid());
  }
  for (const CallRecord* call : source.journal) {
    if (!call->event().empty()) add(call->at(), kind_of_change(call->event()), call->event());
  }
}

/// The node's name; with the pod if the node has several, with the instance if the pod has several. The same
/// names of two directories get a number.
std::vector<std::string> names_of(const std::vector<Source>& sources) {
  std::map<std::string, std::set<std::string>> pods;
  for (const Source& source : sources) pods[source.pod->node].insert(source.pod->pod);
  std::vector<std::string> names;
  std::map<std::string, unsigned> uses;
  for (const Source& source : sources) {
    const PodEvidence& pod = *source.pod;
    const std::string name = pod.node + (pods[pod.node].size() > 1 ? "/" + pod.pod : "") +
                             (source.instance > 0 ? " [" + std::to_string(source.instance) + "]" : "");
    const unsigned use = ++uses[name];
    names.push_back(use == 1 ? name : name + " (" + std::to_string(use) + ")");
  }
  return names;
}

/// Times that cannot be, and a clock that was set back. Both make a report wrong without a sign.
void add_clock_problems(Report& report, const PodEvidence& pod) {
  const auto add = [&](const std::string& file, const std::string& text) {
    *report.add_problems() = problem_of(pod.node + "/" + pod.pod + "/" + file, text);
  };
  std::size_t impossible = 0;
  WallTime before = earliest;
  Duration back{0};
  for (const Event& event : pod.events) {
    const WallTime at = from_proto(event.at());
    if (!plausible(at)) {
      ++impossible;
      continue;
    }
    back = std::max<Duration>(back, before - at);
    before = at;
  }
  for (const CallRecord& call : pod.journal) impossible += plausible(call.at()) ? 0 : 1;
  if (impossible > 0)
    add("events.json",
        std::to_string(impossible) + (impossible == 1 ? " entry has an impossible time and is left out"
                                                      : " entries have impossible times and are left out"));
  if (back > 1s)
    add("events.json", "the node's clock was set back by " + human_duration(back) +
                           "; the times around it are not those of the other nodes");
}

}  // namespace

Report merge(const Evidence& evidence) {
  Report report;
  std::vector<Source> sources;
  for (const PodEvidence& pod : evidence.pods) {
    for (Source& source : sources_of(pod)) sources.push_back(std::move(source));
  }
  WallTime begin = latest;
  WallTime end = earliest;
  for (const Source& source : sources) {
    if (source.end == earliest) continue;
    begin = std::min(begin, source.begin);
    end = std::max(end, source.end);
  }
  const bool any_time = begin < end;
  const Duration bucket = any_time ? bucket_for(end - begin) : Duration{1s};
  if (any_time) {
    *report.mutable_from() = to_timestamp(begin);
    *report.mutable_to() = to_timestamp(end);
  }
  *report.mutable_call_bucket() = to_proto(bucket);
  const std::vector<std::string> names = names_of(sources);
  for (std::size_t i = 0; i < sources.size(); ++i) {
    PluginReport& plugin = *report.add_plugins();
    plugin.set_name(names[i]);
    add_facts(plugin, sources[i]);
    if (sources[i].end > earliest) {
      const std::vector<WallTime> process_ends = add_states(plugin, sources[i]);
      add_keys(plugin, sources[i]);
      add_faults(plugin, sources[i], process_ends);
      add_calls(plugin, sources[i], bucket);
    }
    add_entries(report, plugin, sources[i]);
    add_failed_calls(report, plugin.name(), sources[i].journal);
  }
  std::stable_sort(
      report.mutable_timeline()->begin(), report.mutable_timeline()->end(),
      [](const TimelineEntry& a, const TimelineEntry& b) { return from_proto(a.at()) < from_proto(b.at()); });
  for (const auto& problem : evidence.problems) *report.add_problems() = problem;
  for (const PodEvidence& pod : evidence.pods) add_clock_problems(report, pod);
  for (const std::string& line : evidence.cluster_events) report.add_cluster_events(line);
  judge(report);
  return report;
}

}  // namespace kms::supervisor::report
