#include "provider/config/config.h"

#include <fcntl.h>

#include <set>

#include "common/crypto/sha256.h"
#include "common/io/fd.h"
#include "common/text/protobuf.h"
#include "provider/faults/presets.h"

namespace kms::provider {
namespace {

using mock_kms::v1::Fault;
using mock_kms::v1::ProviderConfig;
using mock_kms::v1::Scenario;

/// Completes one fault in place. `what` names it in errors: "fault 3".
Outcome<> complete(Fault& fault, const std::string& what, const std::string& default_name,
                   std::set<std::string>& names) {
  auto whole = complete_fault(fault);
  if (!whole) return whole.error().within(what);
  fault = *std::move(whole);
  if (fault.name().empty()) fault.set_name(default_name);
  if (names.insert(fault.name()).second) return {};
  return Error(what + ": another fault is named '" + fault.name() + "'", "give it another name");
}

Outcome<> complete(Scenario::Step& step, const std::string& number, std::set<std::string>& names) {
  const std::string what = "step " + number;
  const Duration at = from_proto(step.at());
  if (at < Duration{0})
    return Error(what + ": it begins before the scenario", "'at' counts from the scenario's begin");
  switch (step.action().kind_case()) {
    case Scenario::Action::KIND_NOT_SET:
      return Error(what + " does nothing", "'do' holds a fault or a rotation");
    case Scenario::Action::kRotate:
      if (!step.has_until()) return {};
      return Error(what + ": a rotation has no end", "'until' is for faults");
    case Scenario::Action::kFault:
      break;
  }
  if (step.has_until() && from_proto(step.until()) <= at) {
    return Error(what + " ends before it begins", "'until' counts from the scenario's begin, as 'at' does");
  }
  Fault& fault = *step.mutable_action()->mutable_fault();
  if (auto completed = complete(fault, what, "step-" + number, names); !completed) return completed;
  if (!fault.has_late_start()) return {};
  return Error(what + ": a late start has passed when a scenario runs",
               "declare it under 'faults' or by serve --fault");
}

}  // namespace

Outcome<Scenario> complete_scenario(const Scenario& scenario) {
  Scenario whole = scenario;
  if (whole.steps().empty()) return Error("the scenario has no steps");
  std::set<std::string> names;
  for (int i = 0; i < whole.steps_size(); ++i) {
    if (const auto outcome = complete(*whole.mutable_steps(i), std::to_string(i + 1), names); !outcome)
      return outcome.error();
  }
  return whole;
}

Outcome<Scenario> parse_scenario(const std::string& text) {
  Scenario scenario;
  if (const auto read = from_json(text, scenario); !read)
    return read.error().within("this is not a scenario");
  return complete_scenario(scenario);
}

Outcome<ProviderConfig> parse_config(const std::string& text) {
  ProviderConfig config;
  if (const auto read = from_json(text, config); !read)
    return read.error().within("this is not a configuration");
  std::set<std::string> names;
  for (int i = 0; i < config.faults_size(); ++i) {
    const std::string number = std::to_string(i + 1);
    const auto completed = complete(*config.mutable_faults(i), "fault " + number, "config-" + number, names);
    if (!completed) return completed.error();
  }
  if (config.has_scenario()) {
    auto scenario = complete_scenario(config.scenario());
    if (!scenario) return scenario.error();
    *config.mutable_scenario() = *std::move(scenario);
  }
  return config;
}

Outcome<std::string> read_text_file(const std::string& path) try {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return Error("cannot open " + path + ": " + errno_text(errno));
  std::string content = read_at_most(fd.get(), max_text_file, path);
  if (content.size() > max_text_file) return Error(path + " is larger than 1 MiB");
  return content;
} catch (const Error& error) {
  return error;
}

Outcome<ProviderConfig> read_config(const std::string& path, std::string& digest) {
  digest.clear();
  const auto content = read_text_file(path);
  if (!content) return content.error();
  digest = sha256_hex(bytes_of(*content));
  return parse_config(*content);
}

}  // namespace kms::provider
