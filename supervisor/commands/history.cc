// `supervisor events`, `logs` and `metrics`: print what the supervisor has recorded.
#include <map>
#include <memory>
#include <thread>

#include "common/cli/exit_code.h"
#include "common/log/log.h"
#include "common/text/escape.h"
#include "common/text/protobuf.h"
#include "supervisor/commands/commands.h"
#include "supervisor/control/client.h"

namespace kms::supervisor {
namespace {

constexpr Duration call_timeout = std::chrono::seconds(2);
constexpr Duration poll_interval = std::chrono::milliseconds(200);

struct HistoryOptions {
  OutputFormat format = OutputFormat::text;
  bool follow = false;
  unsigned instance = 0;
};

/// "2026-11-22T14:50:01.123Z [3] "; without the number if there is only one instance.
std::string line_start(const google::protobuf::Timestamp& at, unsigned instance) {
  return rfc3339(from_proto(at)) + " " + (instance == 0 ? "" : "[" + std::to_string(instance) + "] ");
}

std::string text_line(const mock_kms::v1::Event& event) {
  std::string text = line_start(event.at(), event.instance()) + event.text();
  const std::map<std::string, std::string> details(event.details().begin(), event.details().end());
  for (const auto& [name, value] : details) text += " " + log::Field(name, value).text();
  return text;
}

std::string text_line(const mock_kms::v1::OutputLine& line) {
  return line_start(line.at(), line.instance()) + std::to_string(line.pid()) + ": " + line.text();
}

/// Prints the entries. Returns the number of the last one.
std::uint64_t print_entries(const auto& entries, OutputFormat format, std::uint64_t last) {
  std::string text;
  for (const auto& entry : entries) {
    text += format == OutputFormat::json ? to_json(entry, JsonLayout::line) : visible_text(text_line(entry));
    text += "\n";
    last = entry.number();
  }
  print(text);
  return last;
}

/// Adds a command that prints the entries which `read` gets, and later ones with --follow.
template <class Read>
Command history_command(CommandLine& line, const std::string& control, const std::string& name,
                        const std::string& help, Read read) {
  const auto options = std::make_shared<HistoryOptions>();
  CLI::App& app = line.add_subcommand(name, help, {"supervisor " + name, "supervisor " + name + " --follow"});
  add_format(app, options->format);
  add_instance(app, options->instance);
  app.add_flag("--follow", options->follow, "Keep printing new entries until interrupted");
  return {&app, [&control, options, read] {
            const ControlClient client(control_endpoint(control), options->instance);
            std::uint64_t last = 0;
            for (;; std::this_thread::sleep_for(poll_interval)) {
              last = print_entries(read(client, last), options->format, last);
              if (!options->follow) return exit_code::ok;
            }
          }};
}

}  // namespace

Command events_command(CommandLine& line, const std::string& control) {
  return history_command(line, control, "events", "Print what happened to the plugin, and why",
                         [](const ControlClient& client, std::uint64_t after) {
                           return client.events(after, call_timeout).value().events();
                         });
}

Command logs_command(CommandLine& line, const std::string& control) {
  return history_command(line, control, "logs", "Print the last output of the plugin",
                         [](const ControlClient& client, std::uint64_t after) {
                           return client.output(after, call_timeout).value().lines();
                         });
}

Command metrics_command(CommandLine& line, const std::string& control) {
  CLI::App& app =
      line.add_subcommand("metrics", "Print the metrics as Prometheus gets them", {"supervisor metrics"});
  return {&app, [&control] {
            print(ControlClient(control_endpoint(control), 0).metrics(call_timeout).value());
            return exit_code::ok;
          }};
}

}  // namespace kms::supervisor
