#include "supervisor/control/status_text.h"

#include <algorithm>
#include <map>

#include "common/log/log.h"
#include "common/text/counted.h"
#include "common/text/escape.h"
#include "common/text/protobuf.h"

namespace kms::supervisor {
namespace {

using google::protobuf::RepeatedPtrField;
using mock_kms::v1::SupervisorStatus;
using WallTime = std::chrono::system_clock::time_point;

std::string ago(const google::protobuf::Timestamp& time, WallTime now) {
  return human_duration(std::max<Duration>(Duration{0}, now - from_proto(time))) + " ago";
}

std::string length(const google::protobuf::Duration& value) { return human_duration(from_proto(value)); }

std::string row(const std::string& name, std::string text) {
  text = visible_text(text);
  return "  " + name + std::string(name.size() < 11 ? 11 - name.size() : 1, ' ') + text + "\n";
}

std::string plugin_row(const SupervisorStatus& status, WallTime now) {
  std::string text = status.pid() == 0 ? "not running" : "pid " + std::to_string(status.pid());
  if (status.pid() != 0) text += ", started " + ago(status.started_at(), now);
  text += ", " + counted(status.restarts(), "restart");
  if (status.has_next_start_at()) {
    const Duration left = from_proto(status.next_start_at()) - now;
    text += ", next start in " + human_duration(std::max(left, Duration{0}));
  }
  return row("plugin", text);
}

std::string answer_row(const mock_kms::v1::Answer& answer) {
  if (!answer.error().empty()) return row("kms", "error " + answer.error());
  std::string text = row(
      "kms", "version " + answer.version() + ", healthz " + answer.healthz() + ", key_id " + answer.key_id());
  if (!answer.previous_key_id().empty())
    text += row("", "since " + rfc3339(from_proto(answer.key_id_since())) + "; the previous key_id was " +
                        answer.previous_key_id());
  return text;
}

std::string deep_row(const mock_kms::v1::DeepProbe& deep, WallTime now) {
  return row("encrypt", (deep.problem().empty()
                             ? "key_id " + deep.key_id() + ", decrypted again in " + length(deep.latency())
                             : deep.problem()) +
                            ", " + ago(deep.at(), now));
}

/// Draws each latency as a block of one to eight eighths of the maximum (Unicode U+2581 to U+2588).
std::string sparkline(const RepeatedPtrField<google::protobuf::Duration>& latencies) {
  Duration max{1};
  for (const auto& latency : latencies) max = std::max(max, from_proto(latency));
  std::string line;
  for (const auto& latency : latencies) {
    const auto eighths = (from_proto(latency) * 8 + max - Duration{1}) / max;
    line += "\xE2\x96";
    line += static_cast<char>(0x80 + std::clamp<std::int64_t>(eighths, 1, 8));
  }
  return line;
}

std::string probe_rows(const mock_kms::v1::Probe& probe, WallTime now) {
  if (!probe.has_at()) return row("probe", "no result yet");
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
                           (socket.in_place() ? ", bound by the supervisor" : ""));
}

std::string fault_row(const RepeatedPtrField<std::string>& faults) {
  std::string text;
  for (const std::string& fault : faults) text += (text.empty() ? "" : ", ") + fault;
  return row("injected", text + " (injected on purpose by mock-kms-provider)");
}

/// The state of mock-kms-provider's --config. A refused file changes nothing: the previous contents stay in
/// effect.
std::string config_rows(const mock_kms::v1::ConfigStatus& config, WallTime now) {
  std::string text;
  if (config.error().empty()) {
    text = row("config", config.file() + ", in effect since " + rfc3339(from_proto(config.since())));
  } else {
    text =
        row("config", config.file() + ", REFUSED " + ago(config.error_since(), now) + ": " + config.error());
    text += row("", config.has_since() ? "the contents of " + ago(config.since(), now) + " stay in effect"
                                       : "the file has never been in effect");
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
    text += row("", "REPLACED since the process started; 'supervisor restart' starts the new file");
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
  return end.cause() + (end.injected()    ? " (INJECTED on purpose by mock-kms-provider)"
                        : end.asked_for() ? " (requested)"
                                          : "");
}

/// Each exit with its cause, and the last output before the newest.
std::string exit_rows(const RepeatedPtrField<mock_kms::v1::Exit>& exits, WallTime now) {
  const mock_kms::v1::Exit& last = exits.Get(0);
  std::string text = row("last exit", exit_text(last, now)) + row("", cause_text(last));
  for (const std::string& line : last.last_lines()) text += row("", "| " + line);
  for (int i = 1; i < exits.size(); ++i) {
    text += row(i == 1 ? "earlier" : "", exit_text(exits.Get(i), now)) + row("", cause_text(exits.Get(i)));
  }
  return text;
}

std::string rows_of(const SupervisorStatus& status, WallTime now) {
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
    text += row("encrypt", status.deep_probe_every() > 0 ? "not checked yet"
                                                         : "not checked (enable with --deep-probe-every)");
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
                              " lines were dropped: the supervisor's stderr did not take them in time");
  }
  if (status.supervisor_pid() != 0) {
    text += row("supervisor", "pid " + std::to_string(status.supervisor_pid()) + ", started " +
                                  ago(status.supervisor_started_at(), now) + ", version " +
                                  status.supervisor_version());
  }
  if (status.exits_size() > 0) text += exit_rows(status.exits(), now);
  return text;
}

std::string state_name(mock_kms::v1::State state) {
  std::string name = mock_kms::v1::State_Name(state);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return c == '_' ? ' ' : static_cast<char>(std::tolower(c)); });
  return name;
}

std::string coloured(const std::string& text, const SupervisorStatus& status, Colours colours) {
  if (colours == Colours::none) return text;
  const char* colour = status.healthy() ? "32" : status.ready() ? "33" : "31";  // ECMA-48: green, yellow, red
  return "\033[" + std::string(colour) + "m" + text + "\033[0m";
}

std::string health_word(const SupervisorStatus& status) {
  return status.healthy() ? "healthy" : "NOT HEALTHY";
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text + " ";
}

std::string table_row(const SupervisorStatus& status, Colours colours) {
  const std::string latency = status.probe().has_latency() ? length(status.probe().latency()) : "-";
  const std::string last = status.reason().empty() ? status.answer().key_id() : status.reason();
  return "  " + padded(std::to_string(status.instance()), 4) +
         coloured(padded(state_name(status.state()), 12), status, colours) +
         padded(std::to_string(status.pid()), 8) + padded(std::to_string(status.restarts()), 8) +
         padded(latency, 9) + visible_text(status.socket().endpoint()) + " " + visible_text(last) + "\n";
}

std::string table(const SupervisorStatus& whole, Colours colours) {
  std::string text = coloured(health_word(whole), whole, colours) + ", " +
                     std::to_string(whole.instances_size()) + " instances, " +
                     counted(whole.restarts(), "restart") + "\n";
  if (!whole.reason().empty()) text += row("reason", whole.reason());
  text += "  " + padded("no.", 4) + padded("state", 12) + padded("pid", 8) + padded("restarts", 8) +
          padded("answer in", 9) + "socket, key_id or reason\n";
  for (const auto& instance : whole.instances()) text += table_row(instance, colours);
  for (const auto& instance : whole.instances()) {
    const auto& config = instance.plugin_config();
    if (!config.error().empty())
      text += row("config", "instance " + std::to_string(instance.instance()) + ": " + config.file() +
                                ", REFUSED: " + config.error());
  }
  return text;
}

/// 0: healthy; 1: ready; 2: neither.
int trouble(const SupervisorStatus& status) { return status.healthy() ? 0 : status.ready() ? 1 : 2; }

}  // namespace

std::string line_start(const google::protobuf::Timestamp& at, unsigned instance) {
  return rfc3339(from_proto(at)) + " " + (instance == 0 ? "" : "[" + std::to_string(instance) + "] ");
}

std::string event_line(const mock_kms::v1::Event& event) {
  std::string text = line_start(event.at(), event.instance()) + event.text();
  if (event.pid() != 0) text += " pid=" + std::to_string(event.pid());
  const std::map<std::string, std::string> details(event.details().begin(), event.details().end());
  for (const auto& [name, value] : details) text += " " + log::Field(name, value).text();
  return text;
}

SupervisorStatus summary_of(std::vector<SupervisorStatus> instances) {
  if (instances.size() == 1) return std::move(instances.front());
  SupervisorStatus whole;
  const auto worst = std::max_element(instances.begin(), instances.end(),
                                      [](const auto& a, const auto& b) { return trouble(a) < trouble(b); });
  whole.set_state(worst->state());
  *whole.mutable_since() = worst->since();
  whole.set_healthy(trouble(*worst) == 0);
  whole.set_ready(trouble(*worst) < 2);
  if (!worst->reason().empty())
    whole.set_reason("instance " + std::to_string(worst->instance()) + ": " + worst->reason());
  for (SupervisorStatus& instance : instances) {
    whole.set_restarts(whole.restarts() + instance.restarts());
    *whole.add_instances() = std::move(instance);
  }
  return whole;
}

std::string status_text(const SupervisorStatus& status, WallTime now, Colours colours) {
  if (status.instances_size() > 0) return table(status, colours);
  const std::string text = coloured(health_word(status), status, colours) + ", " +
                           state_name(status.state()) + " since " + rfc3339(from_proto(status.since())) +
                           " (" + ago(status.since(), now) + ")\n";
  return text + rows_of(status, now);
}

std::string status_line(const SupervisorStatus& status) {
  if (status.instances_size() > 0) {
    const auto healthy = std::count_if(status.instances().begin(), status.instances().end(),
                                       [](const auto& instance) { return instance.healthy(); });
    return std::string(status.healthy() ? "healthy" : "not healthy") + ": " + std::to_string(healthy) +
           " of " + std::to_string(status.instances_size()) + " instances are" +
           (status.reason().empty() ? "" : "; " + status.reason());
  }
  if (status.healthy()) {
    return "healthy: pid " + std::to_string(status.pid()) + ", key_id " + status.answer().key_id();
  }
  return "not healthy (" + state_name(status.state()) + "): " + status.reason();
}

}  // namespace kms::supervisor
