// `scenario` runs a timeline of faults and rotations: scenario run, status, stop, check.
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <map>
#include <thread>

#include "common/cli/exit_code.h"
#include "common/io/fd.h"
#include "common/text/counted.h"
#include "common/text/escape.h"
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
  bool follow = false;
  OutputFormat format = OutputFormat::text;
};

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// "rotate {}" or "fault step-2 {...}", and why it failed.
std::string action_text(const StepStatus& step) {
  const auto& action = step.step().action();
  const std::string text = action.has_rotate() ? "rotate " + to_user_json(action.rotate())
                                               : "fault " + step.fault() + " " + to_user_json(action.fault());
  return visible_text(step.error().empty() ? text : text + "  error: " + step.error());
}

void print_step(const StepStatus& step, int number) {
  const std::string until = step.step().has_until() ? go_duration(from_proto(step.step().until())) : "-";
  const std::string text = action_text(step);
  std::printf("%4d  %-9s  %8s  %8s  %s\n", number, lower_case(StepStatus::State_Name(step.state())).c_str(),
              go_duration(from_proto(step.step().at())).c_str(), until.c_str(), text.c_str());
}

void print_scenario(const ScenarioStatus& status, OutputFormat format) {
  if (format == OutputFormat::json) {
    print(to_json(status, JsonLayout::document));
    return;
  }
  if (status.state() == ScenarioStatus::NONE) {
    std::printf("no scenario has run yet\n");
    return;
  }
  std::printf("%s %s, %s of %s, by %s\n",
              status.name().empty() ? "scenario" : visible_text(status.name()).c_str(),
              lower_case(ScenarioStatus::State_Name(status.state())).c_str(),
              human_duration(from_proto(status.elapsed())).c_str(),
              human_duration(from_proto(status.length())).c_str(),
              status.from_file() ? "the file of --config" : "command");
  std::printf("%4s  %-9s  %8s  %8s  %s\n", "STEP", "STATE", "AT", "UNTIL", "DO");
  for (int i = 0; i < status.steps_size(); ++i) print_step(status.steps(i), i + 1);
}

Outcome<std::string> read_standard_input() {
  std::string text = read_at_most(STDIN_FILENO, max_text_file, "standard input");
  if (text.size() > max_text_file)
    return Error("standard input is larger than 1 MiB", "a scenario has at most 1 MiB: give fewer steps");
  return text;
}

/// Throws Error if the scenario was stopped or a step failed.
void require_success(const ScenarioStatus& status) {
  if (status.state() == ScenarioStatus::STOPPED) throw Error("the scenario was stopped before its end");
  for (int i = 0; i < status.steps_size(); ++i) {
    const StepStatus& step = status.steps(i);
    if (step.state() == StepStatus::FAILED)
      throw Error("step " + std::to_string(i + 1) + " failed: " + step.error());
  }
}

/// Prints a line as a step begins and as it ends, at its own time however late it is seen.
void print_changes(const ScenarioStatus& before, const ScenarioStatus& now) {
  std::multimap<Duration, std::string> lines;
  const auto line = [&](const google::protobuf::Duration& at, int number, const std::string& text) {
    lines.emplace(std::chrono::round<std::chrono::milliseconds>(from_proto(at)),
                  "step " + std::to_string(number) + " " + text);
  };
  for (int i = 0; i < now.steps_size(); ++i) {
    const StepStatus& step = now.steps(i);
    const auto old = i < before.steps_size() ? before.steps(i).state() : StepStatus::WAITING;
    if (step.state() == old || step.state() == StepStatus::ELSEWHERE || step.state() == StepStatus::SKIPPED)
      continue;
    if (old == StepStatus::WAITING)
      line(step.step().at(), i + 1,
           (step.state() == StepStatus::FAILED ? "fails: " : "begins: ") + action_text(step));
    if (step.state() == StepStatus::DONE && step.step().has_until()) line(step.step().until(), i + 1, "ends");
    if (step.state() == StepStatus::STOPPED) line(now.elapsed(), i + 1, "is stopped");
  }
  for (const auto& [at, text] : lines) print(go_duration(at) + "  " + text + "\n");
}

/// Returns the status at the scenario's end. Throws Error if another scenario replaces it.
ScenarioStatus follow(ControlClient& client, ScenarioStatus status, OutputFormat format) {
  for (ScenarioStatus before;; std::this_thread::sleep_for(poll_interval)) {
    if (format == OutputFormat::text) print_changes(before, status);
    if (status.state() != ScenarioStatus::RUNNING) return status;
    before = std::move(status);
    status = client.call(mock_kms::v1::ReadScenarioRequest(), &ControlClient::Stub::ReadScenario);
    if (from_proto(status.begun()) != from_proto(before.begun()))
      throw Error("another scenario replaced this one", "see 'mock-kms-provider scenario status'");
  }
}

Scenario read_scenario(const std::string& file) {
  const auto text = file == "-" ? read_standard_input() : read_text_file(file);
  auto scenario = !text ? text.error() : parse_scenario(*text);
  if (scenario) return *std::move(scenario);
  const Error error = scenario.error().within(file);
  const auto config = text ? parse_config(*text) : Outcome<mock_kms::v1::ProviderConfig>(error);
  if (config && config->ByteSizeLong() > 0)
    throw bad_input(error.cause(), "this is a file of --config: use 'config --check'");
  throw error.with(ErrorCode::invalid_input);
}

/// Warns that a restart loses the scenario's rotations, as `rotate` does.
void warn_of_lost_rotations(const ScenarioStatus& status) {
  const bool rotates = std::any_of(status.steps().begin(), status.steps().end(), [](const StepStatus& step) {
    return step.step().action().has_rotate() && step.state() != StepStatus::ELSEWHERE;
  });
  if (!rotates || status.stored()) return;
  std::fprintf(
      stderr,
      "mock-kms-provider: the scenario's rotations are lost when the provider restarts; start it with "
      "--state-dir to keep them\n");
}

int run_scenario(const ScenarioOptions& options) {
  const Scenario scenario = read_scenario(options.file);
  ControlClient client(options);
  auto status = client.call(scenario, &ControlClient::Stub::RunScenario);
  warn_of_lost_rotations(status);
  if (options.wait) status = follow(client, std::move(status), options.format);
  print_scenario(status, options.format);
  if (options.wait) require_success(status);
  return exit_code::ok;
}

int show_scenario(const ScenarioOptions& options) {
  ControlClient client(options);
  auto status = client.call(mock_kms::v1::ReadScenarioRequest(), &ControlClient::Stub::ReadScenario);
  if (options.follow) status = follow(client, std::move(status), options.format);
  print_scenario(status, options.format);
  if (options.follow && status.state() == ScenarioStatus::NONE)
    throw Error("there is no scenario to follow", "begin one with 'mock-kms-provider scenario run'");
  if (options.follow) require_success(status);
  return exit_code::ok;
}

int check_scenario(const ScenarioOptions& options) {
  const Scenario scenario = read_scenario(options.file);
  if (options.format == OutputFormat::json) {
    print(to_short_json(scenario, JsonLayout::document));
  } else {
    std::printf("good: %s\n", counted(scenario.steps_size(), "step").c_str());
  }
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
      "scenario", "Run a timeline of faults and rotations, follow it, stop it, or check its file",
      {"mock-kms-provider scenario check outage.json", "mock-kms-provider scenario run outage.json --wait",
       "mock-kms-provider scenario status --follow", "mock-kms-provider scenario stop"});
  add_provider_options(command, *options);
  add_format(command, options->format);
  command.require_subcommand(1);
  constexpr auto file_help = "File with the scenario as JSON; -: standard input";
  CLI::App& run = CommandLine::add_nested(
      command, "run", "Begin a scenario; it replaces the one before",
      {"mock-kms-provider scenario run outage.json --wait",
       R"(echo '{"steps": [{"do": {"rotate": {}}}]}' | mock-kms-provider scenario run -)"});
  run.add_option("file", options->file, file_help)->required();
  run.add_flag(
      "--wait", options->wait,
      "Print each step as it begins and ends; return when all are over, with exit code 1 if one failed");
  CLI::App& status = CommandLine::add_nested(command, "status", "Show the progress of the scenario",
                                             {"mock-kms-provider scenario status --follow"});
  status.add_flag("--follow", options->follow, "Print each step as it begins and ends, until all are over");
  CLI::App& stop = CommandLine::add_nested(command, "stop", "End the scenario and its faults",
                                           {"mock-kms-provider scenario stop"});
  CLI::App& check =
      CommandLine::add_nested(command, "check", "Check the file of a scenario; no provider is needed",
                              {"mock-kms-provider scenario check outage.json"});
  check.add_option("file", options->file, file_help)->required();
  return {&command, [options, &run, &status, &stop] {
            return run.parsed()      ? run_scenario(*options)
                   : status.parsed() ? show_scenario(*options)
                   : stop.parsed()   ? stop_scenario(*options)
                                     : check_scenario(*options);
          }};
}

}  // namespace kms::provider
