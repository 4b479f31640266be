#include "supervisor/report/log_lines.h"

#include <absl/strings/numbers.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "common/text/escape.h"
#include "common/text/protobuf.h"

namespace kms::supervisor::report {
namespace {

using mock_kms::v1::CallRecord;
using mock_kms::v1::Event;

constexpr std::size_t max_line = std::size_t{16} * 1024;
constexpr auto log_before_journal = std::chrono::milliseconds(100);  ///< the provider logs a change first

struct Kind {
  std::string_view start;
  mock_kms::v1::EventKind kind;
};

/// The beginnings of the events' texts (history/record.cc, instance/*.cc). The longer of two stands first.
constexpr std::array<Kind, 21> kinds{{
    {"launched ", mock_kms::v1::LAUNCHED},
    {"the plugin is ready", mock_kms::v1::READY},
    {"a process is ready to take over", mock_kms::v1::READY},
    {"the waiting process takes over", mock_kms::v1::TAKEN_OVER},
    {"the plugin ended", mock_kms::v1::ENDED},
    {"ending the plugin", mock_kms::v1::TERMINATING},
    {"calls are answered again", mock_kms::v1::OUTAGE_OVER},
    {"the plugin answers, but ", mock_kms::v1::UNHEALTHY},
    {"the plugin is healthy again", mock_kms::v1::HEALTHY},
    {"the plugin answers slowly", mock_kms::v1::SLOW},
    {"the plugin names another key", mock_kms::v1::KEY_CHANGED},
    {"the plugin went back to an earlier key", mock_kms::v1::KEY_CHANGED},
    {"asked to restart the plugin", mock_kms::v1::ASKED_TO_RESTART},
    {"asked to stop the plugin", mock_kms::v1::ASKED_TO_STOP},
    {"asked to start the plugin", mock_kms::v1::ASKED_TO_START},
    {"nothing was restarted: ", mock_kms::v1::NOT_RESTARTED},
    {"nothing was started: ", mock_kms::v1::NOT_STARTED},
    {"bound the socket again", mock_kms::v1::SOCKET_BOUND},
    {"another binary was published", mock_kms::v1::BINARY_CHANGED},
    {"asked to stop", mock_kms::v1::SUPERVISOR},
    {"asked to reload", mock_kms::v1::SUPERVISOR},
}};

/// Reads `key=value` or `key="value"` off the end of `text`. False if there is none.
bool take_last_field(std::string& text, std::map<std::string, std::string>& fields) {
  std::size_t end = text.size();
  std::string value;
  if (text.ends_with('"')) {
    std::size_t open = text.rfind("=\"", end - 1);
    if (open == std::string::npos || open + 1 == end - 1) return false;
    google::protobuf::Value parsed;
    if (!google::protobuf::util::JsonStringToMessage(text.substr(open + 1), &parsed).ok()) return false;
    value = parsed.string_value();
    end = open;
  } else {
    const std::size_t equals = text.rfind('=');
    if (equals == std::string::npos || text.find(' ', equals) != std::string::npos) return false;
    value = text.substr(equals + 1);
    end = equals;
  }
  const std::size_t space = text.rfind(' ', end);
  if (space == std::string::npos || space + 1 == end) return false;
  fields[text.substr(space + 1, end - space - 1)] = value;
  text.erase(space);
  return true;
}

std::optional<LogLine> parse_json(std::string_view line) {
  google::protobuf::Struct parsed;
  if (!google::protobuf::util::JsonStringToMessage(std::string(line), &parsed).ok()) return std::nullopt;
  LogLine read;
  for (auto& [key, value] : parsed.fields()) {
    const bool number = value.kind_case() == google::protobuf::Value::kNumberValue;
    const std::string text =
        number ? std::to_string(static_cast<long long>(value.number_value())) : value.string_value();
    if (key == "time") {
      if (!google::protobuf::util::TimeUtil::FromString(text, &read.at)) return std::nullopt;
    } else if (key == "program" || key == "message") {
      (key == "program" ? read.program : read.message) = text;
    } else if (key != "level") {
      read.fields[key] = text;
    }
  }
  return read;
}

/// "2026-11-22T14:50:01.123Z info    supervisor: the plugin ended pid=3"
std::optional<LogLine> parse_text(std::string_view line) {
  constexpr std::size_t time_length = 24;
  constexpr std::size_t level_length = 9;
  LogLine read;
  if (line.size() <= time_length + level_length || line[time_length - 1] != 'Z' || line[10] != 'T')
    return std::nullopt;
  if (!google::protobuf::util::TimeUtil::FromString(std::string(line.substr(0, time_length)), &read.at))
    return std::nullopt;
  line.remove_prefix(time_length + level_length);
  const std::size_t colon = line.find(": ");
  if (colon == std::string_view::npos) return std::nullopt;
  read.program = line.substr(0, colon);
  read.message = utf8_text(line.substr(colon + 2));
  while (take_last_field(read.message, read.fields)) {
  }
  return read;
}

std::string field(const LogLine& line, const std::string& name) {
  const auto found = line.fields.find(name);
  return found == line.fields.end() ? "" : found->second;
}

/// The provider's change as the journal puts it; "" for any other line.
std::string change_of(const LogLine& line) {
  if (line.message == "set a fault") return "fault " + field(line, "fault") + " is set";
  if (line.message == "cleared faults")
    return field(line, "fault").empty() ? "all faults by command are cleared"
                                        : "fault " + field(line, "fault") + " is cleared";
  if (line.message == "a fault is over")
    return "fault " + field(line, "fault") + " is over after " + field(line, "lasted");
  if (line.message == "rotated the key")
    return "rotated the key from version " + field(line, "from") + " to " + field(line, "key_id");
  if (line.message == "applied the configuration")
    return "configuration " + field(line, "file") + " is in effect";
  if (line.message.starts_with("a fault ")) return line.message + ": " + field(line, "fault");
  if (line.message.starts_with("scenario "))
    return line.message + (line.fields.contains("step") ? ", step " + field(line, "step") : "");
  return "";
}

}  // namespace

std::optional<LogLine> LogLine::parse(std::string_view line) {
  if (line.size() > max_line) return std::nullopt;
  return line.starts_with('{') ? parse_json(line) : parse_text(line);
}

void LogHistory::add(std::string_view line) {
  // Most lines are neither, and parsing costs more than this.
  if (line.find("supervisor") == std::string_view::npos &&
      line.find("mock-kms-provider") == std::string_view::npos)
    return;
  auto read = LogLine::parse(line);
  if (!read) return;
  if (read->program == "mock-kms-provider") {
    if (std::string change = change_of(*read); !change.empty()) {
      CallRecord& record = changes_.emplace_back();
      *record.mutable_at() = read->at;
      record.set_event(std::move(change));
    }
  }
  if (read->program != "supervisor") return;
  unsigned instance = 0;
  if (read->message.starts_with("instance ")) {
    const std::size_t colon = read->message.find(": ");
    if (colon == std::string::npos) return;
    instance = static_cast<unsigned>(std::strtoul(read->message.c_str() + 9, nullptr, 10));
    read->message.erase(0, colon + 2);
  }
  const auto* const kind = std::find_if(
      kinds.begin(), kinds.end(), [&](const Kind& one) { return read->message.starts_with(one.start); });
  if (kind == kinds.end()) return;
  Event& event = events_.emplace_back();
  *event.mutable_at() = read->at;
  event.set_instance(instance);
  event.set_kind(kind->kind);
  event.set_text(read->message);
  for (auto& [key, value] : read->fields) {
    std::uint32_t pid = 0;
    if (key == "pid" && absl::SimpleAtoi(value, &pid)) {
      event.set_pid(pid);
    } else if (key != "start") {  // a number of the log only
      (*event.mutable_details())[key] = value;
    }
  }
}

void LogHistory::prepend_to(std::vector<Event>& events, std::vector<CallRecord>& journal) {
  const auto prepend = [](auto& older, auto& entries, Duration margin) {
    if (!entries.empty()) {
      const auto first = from_proto(entries.front().at()) - margin;
      std::erase_if(older, [&](const auto& entry) { return from_proto(entry.at()) >= first; });
    }
    entries.insert(entries.begin(), std::make_move_iterator(older.begin()),
                   std::make_move_iterator(older.end()));
  };
  prepend(events_, events, Duration{0});
  prepend(changes_, journal, log_before_journal);
}

}  // namespace kms::supervisor::report
