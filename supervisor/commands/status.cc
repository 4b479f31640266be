// `supervisor status`: asks a running supervisor, waits for health, follows it, prints.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>

#include "common/cli/exit_code.h"
#include "common/text/escape.h"
#include "common/text/lines.h"
#include "common/text/protobuf.h"
#include "supervisor/commands/commands.h"
#include "supervisor/control/client.h"
#include "supervisor/control/provider.h"
#include "supervisor/control/status_text.h"

namespace kms::supervisor {
namespace {

using mock_kms::v1::SupervisorStatus;
using Clock = std::chrono::steady_clock;

constexpr Duration answer_timeout = std::chrono::seconds(2);
constexpr Duration wait_interval = std::chrono::milliseconds(50);
constexpr Duration follow_interval = std::chrono::seconds(1);
constexpr Duration line_interval =
    std::chrono::milliseconds(200);  // later events are lost if the supervisor ends

struct StatusOptions {
  OutputFormat format = OutputFormat::text;
  std::optional<Duration> wait;  ///< how long to wait for a good status; empty: ask once
  bool ready = false;            ///< ask for readiness instead of health
  bool live = false;             ///< ask only whether the supervisor works
  bool follow = false;
  unsigned instance = 0;
};

/// A liveness or readiness probe has a short timeout. A hung plugin or a slow disk must not use it up.
Outcome<SupervisorStatus> ask(const ControlClient& client, bool is_probe = false) {
  auto status = client.status(answer_timeout, !is_probe);
  if (!status || is_probe) return status;
  if (status->instances_size() == 0) add_provider_report(*status);
  for (auto& instance : *status->mutable_instances()) add_provider_report(instance);
  return status;
}

/// A supervisor that answers is live, unless all its plugins have ended for good: only a new supervisor
/// starts them again.
bool live(const SupervisorStatus& status) {
  if (status.instances_size() == 0) return status.state() != mock_kms::v1::STOPPED;
  return std::any_of(status.instances().begin(), status.instances().end(), live);
}

bool good(const SupervisorStatus& status, const StatusOptions& options) {
  return options.live ? live(status) : options.ready ? status.ready() : status.healthy();
}

/// Asks until the status is good or the time of --wait is over. Throws Error if nobody has answered.
SupervisorStatus ask_and_wait(const ControlClient& client, const StatusOptions& options) {
  const auto until = Clock::now() + options.wait.value_or(Duration{0});
  for (;; std::this_thread::sleep_for(wait_interval)) {
    const bool is_probe = (options.live || options.ready) && options.format == OutputFormat::text;
    auto status = ask(client, is_probe);
    const bool is_final = status ? good(*status, options) : status.error().code() == ErrorCode::invalid_input;
    if (is_final || Clock::now() + wait_interval > until) return *std::move(status);
  }
}

std::string ready_line(const SupervisorStatus& status) {
  if (!status.ready()) return "not ready: " + status.reason();
  return status.instances_size() > 0 ? "ready" : "ready: pid " + std::to_string(status.pid());
}

std::string live_line(const SupervisorStatus& status) {
  return live(status) ? "live: pid " + std::to_string(status.supervisor_pid())
                      : "not live: " + status.reason();
}

/// Colours on a terminal, unless the user has turned them off (no-color.org).
Colours wanted_colours() {
  const char* refused = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool can =
      ::isatty(STDOUT_FILENO) == 1 && terminal != nullptr && std::string_view(terminal) != "dumb";
  return can && (refused == nullptr || *refused == '\0') ? Colours::ansi : Colours::none;
}

std::string text_of(const SupervisorStatus& status, const StatusOptions& options) {
  if (options.format == OutputFormat::json) return to_json(status, JsonLayout::document);
  if (options.live) return live_line(status) + "\n";
  if (options.ready) return ready_line(status) + "\n";
  return status_text(status, std::chrono::system_clock::now(), wanted_colours());
}

/// Cuts each line to the terminal's width, so that a line is a row. Colours and the bytes of a character
/// after its first take no column.
std::string clipped(const std::string& text, std::size_t columns) {
  std::string clipped;
  for (const std::string_view line : lines_of(text)) {
    std::size_t column = 0;
    bool in_escape = false;
    for (const char c : line) {
      in_escape |= c == '\033';
      const bool takes_column = !in_escape && (static_cast<unsigned char>(c) & 0xC0) != 0x80;
      if (!takes_column || ++column <= columns) clipped += c;  // the end of a colour stays after the cut too
      if (c == 'm') in_escape = false;
    }
    clipped += "\n";
  }
  return clipped;
}

/// Draws the status over the previous one and leaves the terminal above it alone.
class Screen {
 public:
  void draw(const std::string& text) {
    winsize size{};
    const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 1;
    std::string shown = clipped(text, known ? size.ws_col : 80);
    std::size_t rows = static_cast<std::size_t>(std::count(shown.begin(), shown.end(), '\n'));
    for (const std::size_t max = known ? size.ws_row - 1U : 24U; rows > max; --rows) {
      shown.erase(shown.rfind('\n', shown.size() - 2) + 1);  // the first line, the health, stays visible
    }
    if (rows_ > 0) std::printf("\033[%zuA\033[J", rows_);  // up, and clear to the end (ECMA-48)
    print(shown);
    rows_ = rows;
  }

 private:
  std::size_t rows_ = 0;
};

/// Prints one JSON document a line, one a second. Errors go to stderr, the same one once.
[[noreturn]] void follow_as_json(const ControlClient& client) {
  std::string last_error;
  for (;; std::this_thread::sleep_for(follow_interval)) {
    const auto status = ask(client);
    if (status) print(to_json(*status, JsonLayout::line) + "\n");
    const std::string error = status ? "" : status.error().what();
    if (!error.empty() && error != last_error) std::fprintf(stderr, "supervisor: %s\n", error.c_str());
    last_error = error;
  }
}

bool is_about_outages(const mock_kms::v1::Event& event) {
  return event.kind() == mock_kms::v1::ENDED || event.kind() == mock_kms::v1::OUTAGE_OVER ||
         event.kind() == mock_kms::v1::UNHEALTHY || event.kind() == mock_kms::v1::HEALTHY;
}

/// Prints what happened between two polls: an outage may be shorter than the interval.
void print_outages(const ControlClient& client, std::uint64_t& last, bool is_first) {
  const auto page = client.events(last, answer_timeout);
  if (!page) {
    last = 0;  // the next supervisor counts from 1
    return;
  }
  if (page->events_size() > 0) last = page->events().rbegin()->number();
  for (const auto& event : page->events()) {
    if (!is_first && is_about_outages(event)) print(visible_text(event_line(event)) + "\n");
  }
}

/// Redraws the status on a terminal. Elsewhere, prints a line for each change and each outage.
[[noreturn]] void follow_as_text(const ControlClient& client) {
  const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  Screen screen;
  std::string last_line;
  std::uint64_t last_event = 0;
  for (;; std::this_thread::sleep_for(terminal ? follow_interval : line_interval)) {
    const auto status = ask(client);
    const auto now = std::chrono::system_clock::now();
    if (terminal) {
      screen.draw(status ? status_text(*status, now, wanted_colours()) : status.error().line() + "\n");
      continue;
    }
    print_outages(client, last_event, last_line.empty());
    std::string line = status ? status_line(*status) : status.error().line();
    if (line == last_line) continue;
    print(rfc3339(now) + " " + line + "\n");
    last_line = std::move(line);
  }
}

int run(const Endpoint& control, const StatusOptions& options) {
  const ControlClient client(control, options.instance);
  if (options.follow && options.format == OutputFormat::json) follow_as_json(client);
  if (options.follow) follow_as_text(client);
  const SupervisorStatus status = ask_and_wait(client, options);
  print(text_of(status, options));
  return good(status, options) ? exit_code::ok : exit_code::failed;
}

}  // namespace

Command status_command(CommandLine& line, const std::string& control) {
  const auto options = std::make_shared<StatusOptions>();
  CLI::App& app = line.add_subcommand("status", "Print the status of the running supervisor and its plugin",
                                      {"supervisor status", "supervisor status -o json",
                                       "supervisor status --wait 30s", "supervisor status --ready"});
  add_format(app, options->format);
  add_instance(app, options->instance);
  auto* wait = add_duration(app, "--wait", options->wait, "Wait up to this long for health (or readiness)");
  auto* ready =
      app.add_flag("--ready", options->ready, "Check only whether the plugin answers, for readiness probes");
  auto* live =
      app.add_flag("--live", options->live,
                   "Check only whether the supervisor answers and has not given up, for liveness probes");
  live->excludes(wait)->excludes(ready);
  app.add_flag("--follow,--watch", options->follow, "Keep showing the status until interrupted")
      ->excludes(wait)
      ->excludes(ready)
      ->excludes(live);
  return {&app, [&control, options] { return run(control_endpoint(control), *options); }};
}

}  // namespace kms::supervisor
