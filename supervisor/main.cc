// supervisor: adds the commands to the command line and runs the chosen one.
#include <absl/synchronization/mutex.h>

#include "supervisor/commands/commands.h"

int main(int argc, char** argv) {
  using namespace kms::supervisor;
  // The detection costs 3 to 4 % of CPU in Debian's build.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  kms::CommandLine line("supervisor", "Supervise one or more KMS v2 plugins and report their status.",
                        "SUPERVISOR_");
  std::string control;
  add_control_socket(line, control);
  for (const auto add : {run_command, status_command, events_command, logs_command, metrics_command,
                         report_command, restart_command, stop_command, start_command}) {
    const kms::Command command = add(line, control);
    kms::CommandLine::show_options_of(line.app(), *command.app);
    line.add(command);
  }
  line.add(check_command(line));
  report_usage_errors(line);
  line.commands_elsewhere("mock-kms-provider", {"serve", "encrypt", "decrypt", "rotate", "keys", "fault",
                                                "journal", "expect", "scenario", "config", "inspect"});
  return line.run(argc, argv);
}
