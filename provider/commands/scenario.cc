// `scenario` runs a timeline of faults and rotations: scenario run, scenario status, scenario stop.
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <thread>

#include "common/cli/exit_code.h"
#include "common/io/fd.h"
#include "common/text/protobuf.h"
#include "provider/commands/client.h"
#include "provider/commands/commands.h"
#include "provider/config/config.h"

namespace kms::provider {
namespace {

using mock_kms::v1::Scenario;
using mock_kms::v1::ScenarioStatus;
using mock_kms::v1::StepStatus;

constexpr auto poll_interval = std::chrono::milliseconds(50);

struct ScenarioOptions : ProviderOptions {
  std::string file;  ///< "-": standard input
  bool wait = false;
  OutputFormat format = OutputFormat::text;
};

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

void print_step(const StepStatus& step, int number) {
  const auto& action = step.step().action();
  const std::string until = step.step().has_until() ? go_duration(from_proto(step.step().until())) : "-";
  std::string text = action.has_rotate() ? "rotate " + to_short_json(action.rotate())
                                         : "fault " + step.fault() + " " + to_short_json(action.fault());
  if (!step.error().empty()) text += "  error: " + step.error();
  std::printf("%4d  %-9s  %8s  %8s  %s\n", number, lower_case(StepStatus::State_Name(step.state())).c_str(),
              go_duration(from_proto(step.step().at())).c_str(), until.c_str(), text.c_str());
}

void print_scenario(const ScenarioStatus& status, OutputFormat format) {
  if (format == OutputFormat::json) {
    print(to_json(status, JsonLayout::document));
    return;
  }
  if (status.state() == ScenarioStatus::NONE) {
    std::printf("there was no scenario yet\n");
    return;
  }
  std::printf("%s %s, %s of %s, by %s\n", status.name().empty() ? "scenario" : status.name().c_str(),
              lower_case(ScenarioStatus::State_Name(status.state())).c_str(),
              human_duration(from_proto(status.elapsed())).c_str(),
              human_duration(from_proto(status.length())).c_str(),
              status.from_file() ? "the file of --config" : "command");
  std::printf("%4s  %-9s  %8s  %8s  %s\n", "STEP", "STATE", "AT", "UNTIL", "DO");
  for (int i = 0; i < status.steps_size(); ++i) print_step(status.steps(i), i + 1);
}

Outcome<std::string> read_standard_input() {
  std::string text = read_at_most(STDIN_FILENO, max_text_file, "standard input");
  if (text.size() > max_text_file) return Error("standard input is larger than 1 MiB");
  return text;
}

bool succeeded(const ScenarioStatus& status) {
  return status.state() != ScenarioStatus::STOPPED &&
         std::none_of(status.steps().begin(), status.steps().end(),
                      [](const StepStatus& step) { return step.state() == StepStatus::FAILED; });
}

/// With --wait it fails if a step failed or the scenario was stopped.
int run_scenario(const ScenarioOptions& options) {
  const auto text = options.file == "-" ? read_standard_input() : read_text_file(options.file);
  const auto scenario = !text ? text.error() : parse_scenario(*text);
  if (!scenario) throw scenario.error().within(options.file).with(ErrorCode::invalid_input);
  ControlClient client(options);
  auto status = client.call(*scenario, &ControlClient::Stub::RunScenario);
  while (options.wait && status.state() == ScenarioStatus::RUNNING) {
    std::this_thread::sleep_for(poll_interval);
    status = client.call(mock_kms::v1::ReadScenarioRequest(), &ControlClient::Stub::ReadScenario);
  }
  print_scenario(status, options.format);
  return !options.wait || succeeded(status) ? exit_code::ok : exit_code::failed;
}

int show_scenario(const ScenarioOptions& options) {
  const mock_kms::v1::ReadScenarioRequest request;
  print_scenario(ControlClient(options).call(request, &ControlClient::Stub::ReadScenario), options.format);
  return exit_code::ok;
}

int stop_scenario(const ScenarioOptions& options) {
  const mock_kms::v1::StopScenarioRequest request;
  print_scenario(ControlClient(options).call(request, &ControlClient::Stub::StopScenario), options.format);
  return exit_code::ok;
}

}  // namespace

Command scenario_command(CommandLine& line) {
  const auto options = std::make_shared<ScenarioOptions>();
  CLI::App& command = line.add_subcommand(
      "scenario", "Run a timeline of faults and rotations: scenario run, scenario status, scenario stop",
      {"mock-kms-provider scenario run outage.json --wait", "mock-kms-provider scenario status",
       "mock-kms-provider scenario stop"});
  add_provider_options(command, *options);
  add_format(command, options->format);
  command.require_subcommand(1);
  CLI::App& run = *command.add_subcommand("run", "Begin a scenario; it replaces the one before");
  run.add_option("file", options->file, "File with the scenario as JSON; -: standard input")->required();
  run.add_flag("--wait", options->wait, "Return when it is over; exit code 1 if a step failed");
  CLI::App& status = *command.add_subcommand("status", "Show the progress of the scenario");
  command.add_subcommand("stop", "End the scenario and its faults");
  return {&command, [options, &run, &status] {
            return run.parsed()      ? run_scenario(*options)
                   : status.parsed() ? show_scenario(*options)
                                     : stop_scenario(*options);
          }};
}

}  // namespace kms::provider
