#include "provider/config/config.h"

#include <fcntl.h>

#include <set>

#include "proto/message_json.h"
#include "proto/program/unique_fd.h"
#include "provider/bounded_read.h"
#include "provider/faults/fault_presets.h"
#include "provider/keys/digest.h"
#include "provider/proto_duration.h"

namespace kms::provider {
namespace {

using mock_kms::v1::Fault;
using mock_kms::v1::ProviderConfig;
using mock_kms::v1::Scenario;

/// Completes one fault in place; `what` says which it is ("fault 3").
std::optional<Failure> complete(Fault& fault, const std::string& what, const std::string& default_name,
                                std::set<std::string>& names) {
  auto whole = complete_fault(fault);
  if (const Failure* failure = failure_of(whole)) return Failure{what + ": " + failure->cause, failure->hint};
  fault = std::move(std::get<Fault>(whole));
  if (fault.name().empty()) fault.set_name(default_name);
  if (names.insert(fault.name()).second) return std::nullopt;
  return Failure{what + ": another one is named '" + fault.name() + "'", "give it another name"};
}

std::optional<Failure> complete(Scenario::Step& step, const std::string& number,
                                std::set<std::string>& names) {
  const std::string what = "step " + number;
  const Duration at = duration_of(step.at());
  if (at < Duration{0})
    return Failure{what + ": it begins before the scenario", "'at' counts from the scenario's begin"};
  switch (step.action().kind_case()) {
    case Scenario::Action::KIND_NOT_SET:
      return Failure{what + " does nothing", "'do' holds a fault or a rotation"};
    case Scenario::Action::kRotate:
      if (!step.has_until()) return std::nullopt;
      return Failure{what + ": a rotation has no end", "'until' is for faults"};
    case Scenario::Action::kFault:
      break;
  }
  if (step.has_until() && duration_of(step.until()) <= at) {
    return Failure{what + " ends before it begins", "'until' counts from the scenario's begin, as 'at' does"};
  }
  Fault& fault = *step.mutable_action()->mutable_fault();
  if (auto failure = complete(fault, what, "step-" + number, names)) return failure;
  if (!fault.has_late_start()) return std::nullopt;
  return Failure{what + ": a late start has passed when a scenario is played",
                 "declare it under 'faults' or by serve --fault"};
}

}  // namespace

Outcome<Scenario> complete_scenario(const Scenario& scenario) {
  Scenario whole = scenario;
  if (whole.steps().empty()) return Failure{"the scenario has no steps", ""};
  std::set<std::string> names;
  for (int i = 0; i < whole.steps_size(); ++i) {
    if (auto failure = complete(*whole.mutable_steps(i), std::to_string(i + 1), names)) return *failure;
  }
  return whole;
}

Outcome<Scenario> parse_scenario(const std::string& text) {
  Scenario scenario;
  if (const auto cause = from_json(text, scenario)) return Failure{"this is not a scenario: " + *cause, ""};
  return complete_scenario(scenario);
}

Outcome<ProviderConfig> parse_config(const std::string& text) {
  ProviderConfig config;
  if (const auto cause = from_json(text, config))
    return Failure{"this is not a configuration: " + *cause, ""};
  std::set<std::string> names;
  for (int i = 0; i < config.faults_size(); ++i) {
    const std::string number = std::to_string(i + 1);
    if (auto failure = complete(*config.mutable_faults(i), "fault " + number, "config-" + number, names)) {
      return *failure;
    }
  }
  if (config.has_scenario()) {
    auto scenario = complete_scenario(config.scenario());
    if (const Failure* failure = failure_of(scenario)) return *failure;
    *config.mutable_scenario() = std::move(std::get<Scenario>(scenario));
  }
  return config;
}

Outcome<std::string> read_text_file(const std::string& path) try {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return Failure{"cannot open " + path + ": " + errno_text(errno), ""};
  std::string content = read_at_most(fd.get(), largest_text_file, path);
  if (content.size() > largest_text_file) return Failure{path + " is larger than 1 MiB", ""};
  return content;
} catch (const Error& error) {
  return error.failure();
}

Outcome<ProviderConfig> read_config(const std::string& path, std::string& digest) {
  digest.clear();
  const auto content = read_text_file(path);
  if (const Failure* failure = failure_of(content)) return *failure;
  digest = sha256_hex(bytes_of(std::get<std::string>(content)));
  return parse_config(std::get<std::string>(content));
}

}  // namespace kms::provider
