#include "supervisor/commands/history.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>

#include <cstdio>
#include <map>
#include <thread>

#include "common/cli/exit_code.h"
#include "common/log/log.h"
#include "common/text/escape.h"
#include "supervisor/control/client.h"

namespace kms::supervisor {
namespace {

using google::protobuf::util::TimeUtil;

constexpr Duration answer_timeout = std::chrono::seconds(2);
constexpr Duration follow_interval = std::chrono::milliseconds(200);

std::string json_line(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  return json;
}

/// "[3] " where there are several.
std::string instance_text(unsigned instance) {
  return instance == 0 ? "" : "[" + std::to_string(instance) + "] ";
}

std::string text_line(const mock_kms::v1::Event& event) {
  std::string text = TimeUtil::ToString(event.at()) + " " + instance_text(event.instance()) + event.text();
  for (const auto& [name, value] :
       std::map<std::string, std::string>(event.details().begin(), event.details().end()))
    text += " " + log::Field(name, value).text();
  return text;
}

std::string text_line(const mock_kms::v1::OutputLine& line) {
  return TimeUtil::ToString(line.at()) + " " + instance_text(line.instance()) + std::to_string(line.pid()) +
         ": " + line.text();
}

void print(const auto& entries, const std::string& output, std::uint64_t& last) {
  for (const auto& entry : entries) {
    const std::string line = output == "json" ? json_line(entry) : visible_text(text_line(entry));
    std::printf("%s\n", line.c_str());
    last = entry.number();
  }
  std::fflush(stdout);
}

int exit_of(const NoAnswer& none) {
  std::fprintf(stderr, "supervisor: %s\n", none.failure.line().c_str());
  return none.exit_code;
}

/// `read` gives what came after a number.
int run(const HistoryRequest& request, const auto& read, const auto& entries_of) {
  for (std::uint64_t last = 0;;) {
    const auto reply = read(last);
    if (const auto* none = std::get_if<NoAnswer>(&reply)) return exit_of(*none);
    print(entries_of(std::get<0>(reply)), request.output, last);
    if (!request.follow) return exit_code::ok;
    std::this_thread::sleep_for(follow_interval);
  }
}

}  // namespace

int run_events(const Endpoint& control, const HistoryRequest& request) {
  const ControlClient client(control, request.instance);
  return run(
      request, [&](std::uint64_t after) { return client.events(after, answer_timeout); },
      [](const auto& page) { return page.events(); });
}

int run_logs(const Endpoint& control, const HistoryRequest& request) {
  const ControlClient client(control, request.instance);
  return run(
      request, [&](std::uint64_t after) { return client.output(after, answer_timeout); },
      [](const auto& page) { return page.lines(); });
}

int run_metrics(const Endpoint& control) {
  const auto reply = ControlClient(control, 0).metrics(answer_timeout);
  if (const auto* none = std::get_if<NoAnswer>(&reply)) return exit_of(*none);
  std::printf("%s", std::get<0>(reply).text().c_str());
  return exit_code::ok;
}

}  // namespace kms::supervisor
