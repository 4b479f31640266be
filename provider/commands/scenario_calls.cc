#include "provider/commands/scenario_calls.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <thread>

#include "common/cli/exit_code.h"
#include "common/io/fd.h"
#include "common/text/protobuf.h"
#include "provider/commands/control_client.h"
#include "provider/config/config.h"

namespace kms::provider {
namespace {

using mock_kms::v1::Scenario;
using mock_kms::v1::ScenarioStatus;
using mock_kms::v1::StepStatus;

constexpr auto poll_interval = std::chrono::milliseconds(50);

std::string in_words(std::string constant) {
  for (char& c : constant) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return constant;
}

void print(const StepStatus& step, int number) {
  const auto& action = step.step().action();
  const std::string until = step.step().has_until() ? go_duration(from_proto(step.step().until())) : "-";
  std::string text = action.has_rotate() ? "rotate " + to_short_json(action.rotate())
                                         : "fault " + step.fault() + " " + to_short_json(action.fault());
  if (!step.error().empty()) text += "  error: " + step.error();
  std::printf("%4d  %-9s  %8s  %8s  %s\n", number, in_words(StepStatus::State_Name(step.state())).c_str(),
              go_duration(from_proto(step.step().at())).c_str(), until.c_str(), text.c_str());
}

void print(const ScenarioStatus& status, const std::string& output) {
  if (output == "json") {
    std::printf("%s", to_json(status, JsonLayout::document).c_str());
    return;
  }
  if (status.state() == ScenarioStatus::NONE) {
    std::printf("there was no scenario yet\n");
    return;
  }
  std::printf("%s %s, %s of %s, by %s\n", status.name().empty() ? "scenario" : status.name().c_str(),
              in_words(ScenarioStatus::State_Name(status.state())).c_str(),
              human_duration(from_proto(status.elapsed())).c_str(),
              human_duration(from_proto(status.length())).c_str(),
              status.from_file() ? "the file of --config" : "command");
  std::printf("%4s  %-9s  %8s  %8s  %s\n", "STEP", "STATE", "AT", "UNTIL", "DO");
  for (int i = 0; i < status.steps_size(); ++i) print(status.steps(i), i + 1);
}

Outcome<std::string> read_standard_input() {
  std::string text = read_at_most(STDIN_FILENO, max_text_file, "standard input");
  if (text.size() > max_text_file) return Error("standard input is larger than 1 MiB");
  return text;
}

Scenario read(const std::string& file) {
  const auto text = file == "-" ? read_standard_input() : read_text_file(file);
  auto scenario = !text ? text.error() : parse_scenario(*text);
  if (!scenario) throw Unanswered{exit_code::usage, scenario.error().line()};
  return *scenario;
}

bool went_well(const ScenarioStatus& status) {
  return status.state() != ScenarioStatus::STOPPED &&
         std::none_of(status.steps().begin(), status.steps().end(),
                      [](const StepStatus& step) { return step.state() == StepStatus::FAILED; });
}

}  // namespace

int call_scenario_run(const ControlOptions& control, const ScenarioOptions& options) {
  const Scenario scenario = read(options.file);
  ControlClient client(control);
  auto status = client.call(scenario, &ControlClient::Stub::RunScenario);
  while (options.wait && status.state() == ScenarioStatus::RUNNING) {
    std::this_thread::sleep_for(poll_interval);
    status = client.call(mock_kms::v1::ReadScenarioRequest(), &ControlClient::Stub::ReadScenario);
  }
  print(status, control.output);
  return !options.wait || went_well(status) ? exit_code::ok : exit_code::failed;
}

int call_scenario_status(const ControlOptions& control) {
  print(ControlClient(control).call(mock_kms::v1::ReadScenarioRequest(), &ControlClient::Stub::ReadScenario),
        control.output);
  return exit_code::ok;
}

int call_scenario_stop(const ControlOptions& control) {
  print(ControlClient(control).call(mock_kms::v1::StopScenarioRequest(), &ControlClient::Stub::StopScenario),
        control.output);
  return exit_code::ok;
}

}  // namespace kms::provider
