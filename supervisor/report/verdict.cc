#include "supervisor/report/verdict.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <tuple>

#include "common/text/counted.h"
#include "common/text/escape.h"
#include "common/text/protobuf.h"
#include "supervisor/report/timeline.h"

namespace kms::supervisor::report {
namespace {

using mock_kms::v1::OutageReport;
using mock_kms::v1::PluginReport;
using mock_kms::v1::Report;

constexpr std::size_t max_quoted = 160;

bool down(const std::string& kind) { return kind == "outage" || kind == "unresponsive"; }

/// Adjacent states in which clients wait are one outage.
void add_outages(Report& report) {
  for (const PluginReport& plugin : report.plugins()) {
    OutageReport* current = nullptr;
    for (const auto& span : plugin.states()) {
      if (!down(span.kind())) {
        current = nullptr;
        continue;
      }
      if (current == nullptr) {
        current = report.add_outages();
        current->set_plugin(plugin.name());
        *current->mutable_from() = span.from();
      }
      if (current->cause().empty()) current->set_cause(span.text());
      *current->mutable_to() = span.to();
      *current->mutable_length() = to_proto(from_proto(span.to()) - from_proto(current->from()));
      current->set_open(span.open());
    }
  }
  std::stable_sort(report.mutable_outages()->begin(), report.mutable_outages()->end(),
                   [](const OutageReport& a, const OutageReport& b) {
                     return from_proto(a.from()) < from_proto(b.from());
                   });
}

/// Compares the nodes. Several instances on a node differ by design, so an instance is compared with the same
/// instance of other nodes.
void add_differences(Report& report) {
  const auto add = [&](const std::string& name,
                       const std::function<std::string(const PluginReport&)>& value) {
    auto& row = *report.add_differences();
    row.set_name(name);
    std::map<unsigned, std::set<std::string>> known;
    for (const PluginReport& plugin : report.plugins()) {
      row.add_values(value(plugin));
      if (!row.values().rbegin()->empty()) known[plugin.instance()].insert(*row.values().rbegin());
    }
    row.set_differs(
        std::any_of(known.begin(), known.end(), [](const auto& values) { return values.second.size() > 1; }));
  };
  add("key_id", [](const PluginReport& plugin) { return plugin.key_id(); });
  add("configuration (SHA-256)", [](const PluginReport& plugin) { return plugin.config_sha256(); });
  add("binary (SHA-256)", [](const PluginReport& plugin) { return plugin.binary_sha256(); });
  add("commit", [](const PluginReport& plugin) { return plugin.build().commit(); });
  add("version of the plugin", [](const PluginReport& plugin) { return plugin.build().binary().version(); });
  add("version of the supervisor", [](const PluginReport& plugin) { return plugin.supervisor_version(); });
}

std::string shortened(const std::string& text) {
  return text.size() <= max_quoted ? text : utf8_text(text.substr(0, max_quoted)) + "…";
}

std::string health_text(const Report& report) {
  const auto total = static_cast<std::size_t>(report.plugins_size());
  std::string bad;
  std::size_t healthy = 0;
  for (const PluginReport& plugin : report.plugins()) {
    if (plugin.healthy()) {
      ++healthy;
    } else if (bad.empty()) {
      bad = plugin.name() + ": " + (plugin.reason().empty() ? plugin.state() : shortened(plugin.reason()));
    }
  }
  if (total == 0) return "There is no evidence of any plugin";
  if (healthy == total)
    return total == 1 ? "The plugin is healthy" : "All " + std::to_string(total) + " plugins are healthy";
  return std::to_string(total - healthy) + " of " + counted(total, "plugin") +
         (total - healthy == 1 ? " is" : " are") + " not healthy (" + bad + ")";
}

std::string outages_text(const Report& report) {
  if (report.outages().empty()) return "no outage is recorded";
  const auto longest = std::max_element(report.outages().begin(), report.outages().end(),
                                        [](const OutageReport& a, const OutageReport& b) {
                                          return from_proto(a.length()) < from_proto(b.length());
                                        });
  return counted(report.outages_size(), "outage") + " (the longest " +
         human_duration(from_proto(longest->length())) + " on " + longest->plugin() +
         (longest->cause().empty()
              ? ""
              : ": " + shortened(longest->cause().substr(0, longest->cause().find("; ")))) +
         ")";
}

/// Names the other times in which API servers could not call or write; "" if there were none.
std::string other_trouble(const Report& report) {
  std::map<std::string, Duration> lengths;
  std::string without_lease;
  std::string with_earlier_key;
  const auto name = [](std::string& names, const PluginReport& plugin) {
    names += (names.empty() ? "" : ", ") + plugin.name();
  };
  for (const PluginReport& plugin : report.plugins()) {
    for (const auto& span : plugin.states())
      lengths[span.kind()] += from_proto(span.to()) - from_proto(span.from());
    if (plugin.has_lowest_lease() && from_proto(plugin.lowest_lease()) <= Duration{0})
      name(without_lease, plugin);
    std::set<std::string> keys;
    for (const auto& key : plugin.keys()) keys.insert(key.kind());
    if (static_cast<int>(keys.size()) < plugin.keys_size()) name(with_earlier_key, plugin);
  }
  std::string text;
  for (const auto& [kind, words] : {std::pair{"unhealthy", "unhealthy for "},
                                    {"paused", "paused for "},
                                    {"stopped", "stopped for "},
                                    {"unknown", "not recorded for "}}) {
    if (lengths[kind] > Duration{0}) text += std::string("; ") + words + human_duration(lengths[kind]);
  }
  if (!without_lease.empty()) text += "; the API server's lease ran out on " + without_lease;
  if (!with_earlier_key.empty()) text += "; an earlier key_id came back on " + with_earlier_key;
  return text;
}

struct CallTotals {
  std::uint64_t recorded = 0;  ///< in the journals, as are the next two
  std::uint64_t failed = 0;
  std::uint64_t on_purpose = 0;        ///< of these, by injected faults
  std::uint64_t counted_failures = 0;  ///< of each plugin's last process; a journal may have forgotten some
};

CallTotals totals_of(const Report& report) {
  CallTotals totals;
  for (const PluginReport& plugin : report.plugins()) {
    for (const auto& bucket : plugin.calls())
      totals.recorded += bucket.status() + bucket.encrypt() + bucket.decrypt() + bucket.other();
    for (const auto& count : plugin.counts())
      totals.counted_failures += count.code() == "OK" ? 0 : count.calls();
  }
  for (const auto& group : report.failed_calls()) {
    totals.failed += group.calls();
    if (!group.fault().empty()) totals.on_purpose += group.calls();
  }
  return totals;
}

std::string recorded_text(const CallTotals& totals) {
  if (totals.recorded == 0) return "no call is recorded";
  if (totals.failed == 0) return "none of " + counted(totals.recorded, "recorded call") + " failed";
  const std::string text =
      std::to_string(totals.failed) + " of " + counted(totals.recorded, "recorded call") + " failed";
  if (totals.on_purpose == 0) return text;
  if (totals.on_purpose == totals.failed) return text + " by injected faults";
  return text + ", " + std::to_string(totals.on_purpose) + " of them by injected faults";
}

}  // namespace

void add_failed_calls(Report& report, const std::string& plugin,
                      const std::vector<const mock_kms::v1::CallRecord*>& journal) {
  std::map<std::tuple<std::string, std::string, std::string>, mock_kms::v1::FailedCalls> groups;
  for (const auto* call : journal) {
    if (call->method().empty() || call->code() == "OK") continue;
    auto& group = groups[{call->method(), call->code(), call->fault()}];
    if (group.calls() == 0) *group.mutable_first() = call->at();
    group.set_calls(group.calls() + 1);
    *group.mutable_last() = call->at();
    group.set_key_id(call->key_id());
    group.set_uid(call->uid());
  }
  for (auto& [key, group] : groups) {
    group.set_plugin(plugin);
    group.set_method(std::get<0>(key));
    group.set_code(std::get<1>(key));
    group.set_fault(std::get<2>(key));
    *report.add_failed_calls() = std::move(group);
  }
}

void judge(Report& report) {
  add_outages(report);
  add_differences(report);
  std::stable_sort(report.mutable_failed_calls()->begin(), report.mutable_failed_calls()->end(),
                   [](const auto& a, const auto& b) { return a.calls() > b.calls(); });
  const CallTotals totals = totals_of(report);
  const bool faults = std::any_of(report.plugins().begin(), report.plugins().end(),
                                  [](const PluginReport& plugin) { return plugin.faults_size() > 0; });
  std::string differing;
  for (const auto& row : report.differences()) {
    if (row.differs()) differing += (differing.empty() ? "" : ", ") + row.name();
  }
  const std::string trouble = other_trouble(report);
  std::string text = health_text(report) + "; " + outages_text(report) + trouble;
  text += "; " + recorded_text(totals);
  if (totals.counted_failures > totals.failed)
    text += "; the counters have " + counted(totals.counted_failures, "failed call");
  if (faults && totals.on_purpose == 0) text += "; faults were injected";
  if (!differing.empty()) text += "; the nodes differ in " + differing;
  if (!report.problems().empty())
    text += "; " + counted(report.problems_size(), "file") + " of the evidence " +
            (report.problems_size() == 1 ? "is" : "are") + " missing or damaged";
  report.set_verdict(text + ".");
  const bool all_healthy =
      report.plugins_size() > 0 && std::all_of(report.plugins().begin(), report.plugins().end(),
                                               [](const PluginReport& plugin) { return plugin.healthy(); });
  const bool quiet = report.outages().empty() && trouble.empty() && totals.failed == 0 &&
                     totals.counted_failures == 0 && differing.empty() && !faults &&
                     report.problems().empty();
  report.set_severity(!all_healthy ? Report::BAD : quiet ? Report::GOOD : Report::WARNING);
}

std::string report_text(const Report& report) {
  std::string text;
  const auto line = [&](const std::string& content) { text += visible_text(content) + "\n"; };
  line(report.verdict());
  for (const PluginReport& plugin : report.plugins()) {
    line("  " + plugin.name() + ": " +
         (plugin.healthy() ? "healthy"
                           : "not healthy" + (plugin.reason().empty() ? "" : ", " + plugin.reason())) +
         ", " + counted(plugin.restarts(), "restart") +
         (plugin.key_id().empty() ? "" : ", key_id " + plugin.key_id()));
  }
  for (const OutageReport& outage : report.outages()) {
    line("  outage " + rfc3339(from_proto(outage.from())) + " " + outage.plugin() + " " +
         human_duration(from_proto(outage.length())) + (outage.open() ? " and not over" : "") + ": " +
         outage.cause());
  }
  for (const auto& group : report.failed_calls()) {
    line("  failed " + rfc3339(from_proto(group.first())) + " " + group.plugin() + " " + group.method() +
         " " + group.code() + ", " + counted(group.calls(), "call") +
         (group.fault().empty() ? "" : ", fault " + group.fault()));
  }
  for (const auto& row : report.differences()) {
    if (row.differs()) line("  differs: " + row.name());
  }
  for (const auto& problem : report.problems()) line("  evidence: " + problem.file() + " " + problem.text());
  return text;
}

}  // namespace kms::supervisor::report
