#include "supervisor/control/status_text.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <sstream>

#include "common/text/escape.h"
#include "common/text/time.h"
#include "supervisor/control/status_rows.h"

namespace kms::supervisor {
namespace {

using WallTime = std::chrono::system_clock::time_point;

std::string state_name(mock_kms::v1::State state) {
  std::string name = mock_kms::v1::State_Name(state);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return c == '_' ? ' ' : static_cast<char>(std::tolower(c)); });
  return name;
}

std::string coloured(const std::string& text, const mock_kms::v1::SupervisorStatus& status, Colours colours) {
  if (colours == Colours::none) return text;
  const char* colour = status.healthy() ? "32" : status.ready() ? "33" : "31";  // ECMA-48: green, yellow, red
  return "\033[" + std::string(colour) + "m" + text + "\033[0m";
}

std::string health_word(const mock_kms::v1::SupervisorStatus& status) {
  return status.healthy() ? "healthy" : "NOT HEALTHY";
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text + " ";
}

std::string table_row(const mock_kms::v1::SupervisorStatus& status, Colours colours) {
  const std::string latency = status.probe().has_latency() ? length(status.probe().latency()) : "-";
  const std::string last = status.reason().empty() ? status.answer().key_id() : status.reason();
  return "  " + padded(std::to_string(status.instance()), 4) +
         coloured(padded(state_name(status.state()), 12), status, colours) +
         padded(std::to_string(status.pid()), 8) + padded(std::to_string(status.restarts()), 8) +
         padded(latency, 9) + visible_text(status.socket().endpoint()) + " " + visible_text(last) + "\n";
}

std::string table(const mock_kms::v1::SupervisorStatus& whole, Colours colours) {
  std::string text = coloured(health_word(whole), whole, colours) + ", " +
                     std::to_string(whole.instances_size()) + " instances, " +
                     std::to_string(whole.restarts()) +
                     (whole.restarts() == 1 ? " restart\n" : " restarts\n");
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

std::string json(const mock_kms::v1::SupervisorStatus& status, bool in_lines) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = in_lines;
  options.always_print_primitive_fields = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(status, &json, options);
  return json;
}

}  // namespace

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(std::move(line));
  return lines;
}

std::string status_text(const mock_kms::v1::SupervisorStatus& status, WallTime now, Colours colours) {
  if (status.instances_size() > 0) return table(status, colours);
  const std::string text = coloured(health_word(status), status, colours) + ", " +
                           state_name(status.state()) + " since " + rfc3339(wall_time(status.since())) +
                           " (" + ago(status.since(), now) + ")\n";
  return text + rows_of(status, now);
}

std::string status_line(const mock_kms::v1::SupervisorStatus& status) {
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

std::string status_json(const mock_kms::v1::SupervisorStatus& status) { return json(status, true); }

std::string status_json_line(const mock_kms::v1::SupervisorStatus& status) { return json(status, false); }

}  // namespace kms::supervisor
