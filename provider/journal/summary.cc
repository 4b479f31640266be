#include "provider/journal/summary.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <vector>

#include "common/text/escape.h"
#include "common/text/protobuf.h"

namespace kms::provider {
namespace {

using mock_kms::v1::CallRecord;
using mock_kms::v1::JournalSummary;
using mock_kms::v1::MethodSummary;
using WallTime = std::chrono::system_clock::time_point;

constexpr int periods = 60;
constexpr auto period = std::chrono::seconds(5);

struct Group {
  MethodSummary summary;
  std::vector<Duration> latencies;
};

/// The smallest latency that at least `share` of all do not exceed. `sorted` is not empty.
Duration quantile(const std::vector<Duration>& sorted, double share) {
  const auto rank = static_cast<std::size_t>(share * static_cast<double>(sorted.size()) + 0.999999);
  return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
}

/// One block a number, relative to the greatest; a space for 0.
std::string sparkline(const google::protobuf::RepeatedField<std::uint32_t>& numbers, std::uint32_t max) {
  static constexpr std::array blocks{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::string line;
  for (const std::uint32_t number : numbers)
    line += blocks.at(max == 0 ? 0 : (std::uint64_t{number} * 8 + max - 1) / max);
  return line;
}

}  // namespace

JournalSummary summarize(const mock_kms::v1::JournalPage& page) {
  JournalSummary summary;
  std::map<std::pair<std::string, std::string>, Group> groups;
  WallTime last;
  for (const CallRecord& call : page.calls()) {
    if (call.method().empty()) continue;
    if (!summary.has_from()) *summary.mutable_from() = call.at();
    if (const WallTime at = from_proto(call.at()); !summary.has_to() || at > last) {
      *summary.mutable_to() = call.at();
      last = at;
    }
    Group& group = groups[{call.method(), call.code()}];
    group.summary.set_calls(group.summary.calls() + 1);
    if (!call.fault().empty()) group.summary.set_faulted(group.summary.faulted() + 1);
    group.latencies.push_back(from_proto(call.latency()));
  }
  for (auto& [key, group] : groups) {
    std::sort(group.latencies.begin(), group.latencies.end());
    group.summary.set_method(key.first);
    group.summary.set_code(key.second);
    *group.summary.mutable_p50() = to_proto(quantile(group.latencies, 0.5));
    *group.summary.mutable_p99() = to_proto(quantile(group.latencies, 0.99));
    *summary.add_methods() = std::move(group.summary);
  }
  *summary.mutable_period() = to_proto(period);
  if (!summary.has_to()) return summary;
  summary.mutable_calls()->Resize(periods, 0);
  summary.mutable_failed()->Resize(periods, 0);
  for (const CallRecord& call : page.calls()) {
    if (call.method().empty()) continue;
    const auto age = std::max<Duration>(last - from_proto(call.at()), Duration{0});
    if (age >= periods * period) continue;
    const int index = periods - 1 - static_cast<int>(age / period);
    summary.set_calls(index, summary.calls(index) + 1);
    if (call.code() != "OK") summary.set_failed(index, summary.failed(index) + 1);
  }
  return summary;
}

std::string summary_text(const JournalSummary& summary) {
  if (!summary.has_to()) return "no calls\n";
  std::array<char, 256> line{};
  std::snprintf(line.data(), line.size(), "%-9s %-19s %6s %8s %9s %9s\n", "METHOD", "CODE", "CALLS",
                "FAULTED", "P50", "P99");
  std::string text = line.data();
  for (const MethodSummary& one : summary.methods()) {
    std::snprintf(line.data(), line.size(), "%-9s %-19s %6u %8u %9s %9s\n",
                  visible_text(one.method()).substr(0, 128).c_str(), one.code().substr(0, 32).c_str(),
                  one.calls(), one.faulted(), human_duration(from_proto(one.p50())).c_str(),
                  human_duration(from_proto(one.p99())).c_str());
    text += line.data();
  }
  const auto max = *std::max_element(summary.calls().begin(), summary.calls().end());
  const auto covered = from_proto(summary.period()) * summary.calls_size();
  text += "the " + human_duration(covered) + " until " + rfc3339(from_proto(summary.to())) + ", " +
          human_duration(from_proto(summary.period())) + " a block, at most " + std::to_string(max) +
          " calls\n";
  return text + "calls   |" + sparkline(summary.calls(), max) + "|\nfailed  |" +
         sparkline(summary.failed(), max) + "|\n";
}

}  // namespace kms::provider
