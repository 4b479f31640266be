// `supervisor events`, `logs` and `metrics`: print what the supervisor has recorded.
#include <algorithm>
#include <memory>
#include <optional>
#include <thread>

#include "common/cli/exit_code.h"
#include "common/text/escape.h"
#include "common/text/protobuf.h"
#include "supervisor/commands/commands.h"
#include "supervisor/control/client.h"
#include "supervisor/control/status_text.h"

namespace kms::supervisor {
namespace {

constexpr Duration call_timeout = std::chrono::seconds(2);
constexpr Duration poll_interval = std::chrono::milliseconds(200);

struct HistoryOptions {
  OutputFormat format = OutputFormat::text;
  bool follow = false;
  std::optional<Duration> since;    ///< back from now
  std::optional<std::size_t> tail;  ///< the last entries
  unsigned instance = 0;
};

std::string text_line(const mock_kms::v1::Event& event) { return event_line(event); }

std::string text_line(const mock_kms::v1::OutputLine& line) {
  return line_start(line.at(), line.instance()) + std::to_string(line.pid()) + ": " + line.text();
}

void print_entries(const auto& entries, OutputFormat format) {
  std::string text;
  for (const auto& entry : entries) {
    text += format == OutputFormat::json ? to_json(entry, JsonLayout::line) : visible_text(text_line(entry));
    text += "\n";
  }
  print(text);
}

/// Cuts the first page to what --since and --tail select. With --follow alone nothing is left.
void select(const HistoryOptions& options, auto& entries) {
  const auto now = std::chrono::system_clock::now();
  int skipped = 0;
  if (options.since) {
    while (skipped < entries.size() && from_proto(entries.Get(skipped).at()) < now - *options.since)
      ++skipped;
  } else if (options.follow) {
    skipped = options.tail ? 0 : entries.size();
  }
  if (options.tail) {
    const auto tail = static_cast<int>(std::min(*options.tail, static_cast<std::size_t>(entries.size())));
    skipped = std::max(skipped, entries.size() - tail);
  }
  entries.DeleteSubrange(0, skipped);
}

/// Adds a command that prints the entries which `read` gets, and later ones with --follow.
template <class Read>
Command history_command(CommandLine& line, const std::string& control, const std::string& name,
                        const std::string& help, Read read) {
  const auto options = std::make_shared<HistoryOptions>();
  CLI::App& app =
      line.add_subcommand(name, help,
                          {"supervisor " + name + " --tail 20", "supervisor " + name + " --since 5m -o json",
                           "supervisor " + name + " --follow"});
  add_format(app, options->format);
  add_instance(app, options->instance);
  app.add_flag("--follow", options->follow, "Print new entries as they come, until interrupted");
  add_duration(app, "--since", options->since, "Print only entries of this time back from now");
  app.add_option("--tail", options->tail, "Print only the last N entries [all; with --follow: none]");
  return {&app, [&control, options, read] {
            const ControlClient client(control_endpoint(control), options->instance);
            std::uint64_t last = 0;
            for (bool first = true;; first = false) {
              auto entries = read(client, last);
              if (!entries.empty()) last = entries.rbegin()->number();
              if (first) select(*options, entries);
              print_entries(entries, options->format);
              if (!options->follow) return exit_code::ok;
              std::this_thread::sleep_for(poll_interval);
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
      line.add_subcommand("metrics", "Print the metrics in Prometheus' text format", {"supervisor metrics"});
  return {&app, [&control] {
            print(ControlClient(control_endpoint(control), 0).metrics(call_timeout).value());
            return exit_code::ok;
          }};
}

}  // namespace kms::supervisor
