#include "supervisor/control/status_rows.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>

#include "common/text/escape.h"
#include "common/text/time.h"

namespace kms::supervisor {
namespace {

using google::protobuf::util::TimeUtil;
using WallTime = std::chrono::system_clock::time_point;

std::string plugin_row(const mock_kms::v1::SupervisorStatus& status, WallTime now) {
  std::string text = status.pid() == 0 ? "not running" : "pid " + std::to_string(status.pid());
  if (status.pid() != 0) text += ", started " + ago(status.started_at(), now);
  text += ", " + std::to_string(status.restarts()) + (status.restarts() == 1 ? " restart" : " restarts");
  if (status.has_next_start_at()) {
    const Duration left = wall_time(status.next_start_at()) - now;
    text += ", next start in " + human_duration(std::max(left, Duration{0}));
  }
  return row("plugin", text);
}

std::string answer_row(const mock_kms::v1::Answer& answer) {
  if (!answer.error().empty()) return row("kms", "error " + answer.error());
  std::string text = row(
      "kms", "version " + answer.version() + ", healthz " + answer.healthz() + ", key_id " + answer.key_id());
  if (!answer.previous_key_id().empty())
    text += row(
        "", "since " + rfc3339(wall_time(answer.key_id_since())) + ", before it " + answer.previous_key_id());
  return text;
}

std::string deep_row(const mock_kms::v1::DeepProbe& deep, WallTime now) {
  return row("encrypt", (deep.problem().empty()
                             ? "key_id " + deep.key_id() + ", decrypted again in " + length(deep.latency())
                             : deep.problem()) +
                            ", " + ago(deep.at(), now));
}

/// Each latency as a block of one to eight eighths of the longest (Unicode U+2581 to U+2588).
std::string sparkline(const google::protobuf::RepeatedPtrField<google::protobuf::Duration>& latencies) {
  std::int64_t longest = 1;
  for (const auto& latency : latencies) longest = std::max(longest, TimeUtil::DurationToNanoseconds(latency));
  std::string line;
  for (const auto& latency : latencies) {
    const auto eighths = (TimeUtil::DurationToNanoseconds(latency) * 8 + longest - 1) / longest;
    line += "\xE2\x96";
    line += static_cast<char>(0x80 + std::clamp<std::int64_t>(eighths, 1, 8));
  }
  return line;
}

std::string probe_rows(const mock_kms::v1::Probe& probe, WallTime now) {
  if (!probe.has_at()) return row("probe", "none ended yet");
  std::string text = "last " + ago(probe.at(), now);
  const auto failures = probe.failures_in_a_row();
  if (failures > 0) {
    text += ", no answer, " + std::to_string(failures) + (failures == 1 ? " failure" : " failures in a row");
  } else if (probe.has_latency()) {
    text += ", answered in " + length(probe.latency()) + (probe.slow() ? " (SLOW)" : "") +
            ", 0 failures in a row";
  }
  if (probe.has_time_to_ready()) text += ", ready " + length(probe.time_to_ready()) + " after launch";
  text = row("probe", text);
  if (!probe.has_p50()) return text;
  return text + row("", "p50 " + length(probe.p50()) + ", p99 " + length(probe.p99()) + " " +
                            sparkline(probe.recent()));
}

std::string lease_row(const google::protobuf::Duration& left) {
  return row("lease", std::to_string(left.seconds()) +
                          " s of 180 s left to the API server, counted from the last good Status");
}

std::string socket_row(const mock_kms::v1::Socket& socket) {
  if (!socket.present()) return row("socket", socket.endpoint() + " is not there");
  if (socket.mode().empty()) return row("socket", socket.endpoint());
  return row("socket", socket.endpoint() + ", " + socket.owner() + " " + socket.mode() + ", SELinux " +
                           (socket.selinux().empty() ? "unknown" : socket.selinux()) + ", inode " +
                           std::to_string(socket.inode()) +
                           (socket.in_place() ? ", the supervisor's own" : ""));
}

std::string fault_row(const google::protobuf::RepeatedPtrField<std::string>& faults) {
  std::string text;
  for (const std::string& fault : faults) text += (text.empty() ? "" : ", ") + fault;
  return row("injected", text + " (mock-kms-provider was told to: its misbehaviour is wanted)");
}

/// Of mock-kms-provider's --config. A refused file changes nothing, so what it said before stays in effect.
std::string config_rows(const mock_kms::v1::ConfigStatus& config, WallTime now) {
  std::string text;
  if (config.error().empty()) {
    text = row("config", config.file() + ", in effect since " + rfc3339(wall_time(config.since())));
  } else {
    text =
        row("config", config.file() + ", REFUSED " + ago(config.error_since(), now) + ": " + config.error());
    text += row("", config.has_since() ? "what it said " + ago(config.since(), now) + " stays in effect"
                                       : "nothing of it has been in effect");
  }
  if (!config.remark().empty()) text += row("", config.remark());
  return text;
}

std::string binary_rows(const mock_kms::v1::BinaryOnDisk& binary) {
  std::string text = row("binary", binary.path());
  if (!binary.sha256().empty()) text += row("", "sha256 " + binary.sha256());
  if (binary.has_build()) {
    const auto& build = binary.build();
    text +=
        row("", "built from commit " + build.commit() + " (" + build.ref() + ") of " + build.repository() +
                    (binary.matches_build() ? "" : "; THE FILE IS NOT THE ONE THAT WAS BUILT"));
  }
  if (binary.replaced())
    text += row("", "REPLACED since the process was started; 'supervisor restart' starts this one");
  if (!binary.problem().empty()) text += row("", binary.problem());
  return text;
}

std::string outage_text(const mock_kms::v1::Exit& end) {
  return end.has_outage() ? ", outage " + length(end.outage()) : "";
}

std::string exit_text(const mock_kms::v1::Exit& end, WallTime now) {
  return ago(end.at(), now) + ", pid " + std::to_string(end.pid()) + " after " + length(end.lived()) + ": " +
         end.status() + outage_text(end);
}

std::string cause_text(const mock_kms::v1::Exit& end) {
  return end.cause() + (end.injected()    ? " (INJECTED: a fault that mock-kms-provider was told to show)"
                        : end.asked_for() ? " (asked for)"
                                          : "");
}

/// Each end with its cause, the newest with its last words.
std::string exit_rows(const google::protobuf::RepeatedPtrField<mock_kms::v1::Exit>& exits, WallTime now) {
  const mock_kms::v1::Exit& last = exits.Get(0);
  std::string text = row("last exit", exit_text(last, now)) + row("", cause_text(last));
  for (const std::string& line : last.last_lines()) text += row("", "| " + line);
  for (int i = 1; i < exits.size(); ++i) {
    text += row(i == 1 ? "before it" : "", exit_text(exits.Get(i), now)) + row("", cause_text(exits.Get(i)));
  }
  return text;
}

}  // namespace

WallTime wall_time(const google::protobuf::Timestamp& time) {
  return WallTime(std::chrono::duration_cast<WallTime::duration>(
      std::chrono::nanoseconds(TimeUtil::TimestampToNanoseconds(time))));
}

std::string ago(const google::protobuf::Timestamp& time, WallTime now) {
  return human_duration(std::max<Duration>(Duration{0}, now - wall_time(time))) + " ago";
}

std::string length(const google::protobuf::Duration& value) {
  return human_duration(Duration{TimeUtil::DurationToNanoseconds(value)});
}

std::string row(const std::string& name, std::string text) {
  text = visible_text(text);
  return "  " + name + std::string(name.size() < 11 ? 11 - name.size() : 1, ' ') + text + "\n";
}

std::string rows_of(const mock_kms::v1::SupervisorStatus& status, WallTime now) {
  std::string text;
  if (!status.reason().empty()) text += row("reason", status.reason());
  text += plugin_row(status, now);
  if (status.has_standby()) {
    text += row("standby", "pid " + std::to_string(status.standby().pid()) +
                               (status.standby().ready() ? ", ready" : ", starting"));
  }
  if (status.has_answer()) text += answer_row(status.answer());
  if (status.has_deep_probe()) {
    text += deep_row(status.deep_probe(), now);
  } else if (status.has_answer() && status.answer().error().empty()) {
    text += row("encrypt", "not asked; with --deep-probe-every its key_id is compared");
  }
  if (status.injected_faults_size() > 0) text += fault_row(status.injected_faults());
  if (status.has_plugin_config()) text += config_rows(status.plugin_config(), now);
  text += probe_rows(status.probe(), now);
  if (status.has_lease_left()) text += lease_row(status.lease_left());
  text += socket_row(status.socket());
  if (!status.handover().empty()) text += row("", status.handover());
  text += binary_rows(status.binary());
  if (status.dropped_lines() > 0) {
    text += row("output", std::to_string(status.dropped_lines()) +
                              " lines were dropped, since nobody read the supervisor's stderr in time");
  }
  if (status.supervisor_pid() != 0) {
    text += row("supervisor", "pid " + std::to_string(status.supervisor_pid()) + ", started " +
                                  ago(status.supervisor_started_at(), now) + ", version " +
                                  status.supervisor_version());
  }
  if (status.exits_size() > 0) text += exit_rows(status.exits(), now);
  return text;
}

}  // namespace kms::supervisor
