// `supervisor restart`, `stop` and `start`: commands that change what the supervisor does.
#include <memory>

#include "common/cli/exit_code.h"
#include "supervisor/commands/commands.h"
#include "supervisor/control/client.h"

namespace kms::supervisor {
namespace {

struct RestartOptions {
  Duration timeout = std::chrono::seconds(60);
  unsigned instance = 0;
};

Command command_for(CommandLine& line, const std::string& control, const std::string& name,
                    ControlCommand action, const std::string& help) {
  const auto options = std::make_shared<RestartOptions>();
  CLI::App& app = line.add_subcommand(
      name, help, {"supervisor " + name, "supervisor " + name + " --instance 2 --timeout 10s"});
  add_duration(app, "--timeout", options->timeout, "How long to wait until it is done");
  add_instance(app, options->instance);
  return {&app, [&control, name, action, options] {
            const ControlClient client(control_endpoint(control), options->instance);
            const auto outcome = client.execute(action, options->timeout);
            if (!outcome) throw outcome.error().within(name);
            return exit_code::ok;
          }};
}

}  // namespace

Command restart_command(CommandLine& line, const std::string& control) {
  return command_for(line, control, "restart", ControlCommand::restart,
                     "Replace the plugin's process: start the new one first, so that no call is lost");
}

Command stop_command(CommandLine& line, const std::string& control) {
  return command_for(line, control, "stop", ControlCommand::pause,
                     "End the plugin and do not start it again; the supervisor stays");
}

Command start_command(CommandLine& line, const std::string& control) {
  return command_for(line, control, "start", ControlCommand::resume, "Start the plugin again after 'stop'");
}

}  // namespace kms::supervisor
