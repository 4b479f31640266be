// supervisor: parses, wires and runs. What the commands do is in the files that are named after them.
#include <absl/synchronization/mutex.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "common/cli/command_line.h"
#include "common/cli/exit_code.h"
#include "common/process/standard_streams.h"
#include "supervisor/commands/check.h"
#include "supervisor/commands/history.h"
#include "supervisor/commands/run.h"
#include "supervisor/commands/status.h"
#include "supervisor/control/client.h"

namespace {

using kms::CommandLine;
using kms::Endpoint;
using kms::Error;
using kms::supervisor::ControlCommand;

/// Root's control socket is where a container's `exec` finds it; another user has a runtime directory of its
/// own (XDG Base Directory Specification).
std::string default_control_socket() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const bool own = ::geteuid() != 0 && runtime != nullptr && *runtime != '\0';
  return std::string("unix://") + (own ? runtime : "/run") + "/mock-kms/supervisor.sock";
}

void add_instance(CLI::App& command, unsigned& instance) {
  command.add_option("--instance", instance, "Of several, the one with this number, from 1 [all]")
      ->check(CLI::Range(1U, 1000U));
}

void add_output(CLI::App& command, std::string& output) {
  command.add_option("-o,--output", output, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

CLI::App& add_status(CommandLine& line, kms::supervisor::StatusRequest& request) {
  auto& status = *line.app().add_subcommand("status", "Ask the running supervisor how the plugin is");
  add_output(status, request.output);
  add_instance(status, request.instance);
  auto* wait = status.add_option_function<std::string>(
      "--wait",
      [&request](const std::string& text) {
        const auto parsed = kms::parse_duration(text);
        if (!parsed) throw CLI::ValidationError("--wait", parsed.error().line());
        request.wait = *parsed;
      },
      "Wait up to this long for health (or readiness)");
  wait->type_name("DURATION");
  auto* ready = status.add_flag("--ready", request.ready,
                                "Ask only whether the plugin serves, whatever it answers: for probes");
  auto* live = status.add_flag("--live", request.live,
                               "Ask only whether the supervisor answers and has not given up: for probes");
  live->excludes(wait)->excludes(ready);
  status.add_flag("--follow,--watch", request.follow, "Keep showing the status until interrupted")
      ->excludes(wait)
      ->excludes(live);
  CommandLine::examples(status, {"supervisor status", "supervisor status -o json",
                                 "supervisor status --wait 30s", "supervisor status --ready"});
  return status;
}

CLI::App& add_history(CommandLine& line, const char* name, const char* help,
                      kms::supervisor::HistoryRequest& request) {
  auto& command = *line.app().add_subcommand(name, help);
  add_output(command, request.output);
  add_instance(command, request.instance);
  command.add_flag("--follow", request.follow, "Go on with what comes until interrupted");
  CommandLine::examples(command,
                        {std::string("supervisor ") + name, std::string("supervisor ") + name + " --follow"});
  return command;
}

struct ToldCommand {
  const char* name;
  ControlCommand command;
  const char* help;
};

constexpr std::array told_commands{
    ToldCommand{"restart", ControlCommand::restart,
                "Replace the plugin's process: the new one first, no call is lost"},
    ToldCommand{"stop", ControlCommand::pause, "End the plugin and start none; the supervisor stays"},
    ToldCommand{"start", ControlCommand::resume, "Start the plugin again after 'stop'"},
};

struct ToldOptions {
  kms::Duration timeout = std::chrono::seconds(60);
  unsigned instance = 0;
};

int tell(const Endpoint& control, const ToldCommand& told, const ToldOptions& options) {
  const kms::supervisor::ControlClient client(control, options.instance);
  const auto none = client.tell(told.command, options.timeout);
  if (!none) return kms::exit_code::ok;
  std::fprintf(stderr, "supervisor: %s: %s\n", told.name, none->failure.line().c_str());
  return none->exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  kms::process::open_standard_streams();
  absl::SetMutexDeadlockDetectionMode(
      absl::OnDeadlockCycle::kIgnore);  // costs 3-4 % of CPU in Debian's build
  CommandLine line("supervisor", "Keep one KMS v2 plugin alive, or several, and tell how they are.",
                   "SUPERVISOR_");
  std::string control_socket = default_control_socket();
  line.app()
      .add_option("--control-socket", control_socket, "Where the supervisor answers 'status' (mode 0600)")
      ->capture_default_str();
  kms::supervisor::RunOptions run_options;
  kms::supervisor::StatusRequest status_request;
  kms::supervisor::HistoryRequest history_request;
  ToldOptions told_options;
  const CLI::App& run = add_run(line, run_options);
  add_status(line, status_request);
  const CLI::App& events = add_history(line, "events", "Show what happened, and why", history_request);
  const CLI::App& logs = add_history(line, "logs", "Show what the plugin wrote last", history_request);
  CLI::App& metrics =
      *line.app().add_subcommand("metrics", "Print the metrics, as Prometheus would get them");
  CommandLine::examples(metrics, {"supervisor metrics"});
  for (const ToldCommand& told : told_commands) {
    CLI::App& command = *line.app().add_subcommand(told.name, told.help);
    kms::add_duration(command, "--timeout", told_options.timeout, "How long to wait until it is done");
    add_instance(command, told_options.instance);
    CommandLine::examples(command, {std::string("supervisor ") + told.name});
  }
  kms::supervisor::CheckOptions check_options;
  const CLI::App& check = kms::supervisor::add_check(line, check_options);
  line.app().require_subcommand(1);
  if (const auto code = line.parse(argc, argv)) return *code;

  const auto control = Endpoint::parse(control_socket);
  if (!control) return line.usage_error("--control-socket: " + control.error().line());
  const auto& endpoint = *control;
  try {
    if (check.parsed()) return kms::supervisor::run_check(line, check_options);
    for (const ToldCommand& told : told_commands) {
      if (line.app().got_subcommand(told.name)) return tell(endpoint, told, told_options);
    }
    if (events.parsed()) return kms::supervisor::run_events(endpoint, history_request);
    if (logs.parsed()) return kms::supervisor::run_logs(endpoint, history_request);
    if (metrics.parsed()) return kms::supervisor::run_metrics(endpoint);
    if (!run.parsed()) return kms::supervisor::run_status(endpoint, status_request);
    auto plan = kms::supervisor::plan_of(run_options);
    if (!plan) return line.usage_error(plan.error().line());
    return kms::supervisor::run_supervisor(*std::move(plan), endpoint);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "supervisor: %s\n", error.what());
    return kms::exit_code::failed;
  }
}
