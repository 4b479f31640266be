#include "provider/config/config.h"

#include <fcntl.h>

#include <set>

#include "common/crypto/sha256.h"
#include "common/io/fd.h"
#include "common/text/protobuf.h"
#include "common/text/user_json.h"
#include "provider/faults/presets.h"

namespace kms::provider {
namespace {

using mock_kms::v1::Fault;
using mock_kms::v1::ProviderConfig;
using mock_kms::v1::Scenario;

/// Completes one fault. `place` names it in errors, in the words of the file: "faults[0]".
Outcome<> complete(Fault& fault, const std::string& place, const std::string& default_name,
                   std::set<std::string>& names) {
  auto whole = complete_fault(fault);
  if (!whole) return whole.error().within(place);
  fault = *std::move(whole);
  if (fault.name().empty()) fault.set_name(default_name);
  if (names.insert(fault.name()).second) return {};
  return Error(place + ": another fault is named '" + fault.name() + "'", "give it another name");
}

Outcome<> check_times(const Scenario::Step& step, const std::string& place) {
  const Duration at = from_proto(step.at());
  if (at < Duration{0}) {
    return Error(place + ": it begins before the scenario", "'at' counts from the scenario's start");
  }
  if (!step.has_until()) return {};
  if (step.action().has_rotate()) return Error(place + ": a rotation has no end", "'until' is for faults");
  if (from_proto(step.until()) > at) return {};
  return Error(place + ": it ends before it begins",
               "'until' counts from the scenario's start, as 'at' does");
}

Outcome<> complete(Scenario::Step& step, const std::string& place, const std::string& default_name,
                   std::set<std::string>& names) {
  if (step.action().kind_case() == Scenario::Action::KIND_NOT_SET) {
    return Error(place + ": it does nothing", "'do' holds a fault or a rotation");
  }
  if (const auto checked = check_times(step, place); !checked) return checked;
  if (step.action().has_rotate()) return {};
  Fault& fault = *step.mutable_action()->mutable_fault();
  if (auto completed = complete(fault, place + ".do.fault", default_name, names); !completed)
    return completed;
  if (!fault.has_late_start()) return {};
  return Error(place + ".do.fault: a late start has passed when a scenario runs",
               "declare it under 'faults' or by serve --fault");
}

Outcome<> complete_steps(Scenario& scenario, const std::string& place) {
  if (scenario.steps().empty()) return Error("the scenario has no steps");
  std::set<std::string> names;
  for (int i = 0; i < scenario.steps_size(); ++i) {
    auto completed = complete(*scenario.mutable_steps(i), place + "steps[" + std::to_string(i) + "]",
                              "step-" + std::to_string(i + 1), names);
    if (!completed) return completed;
  }
  return {};
}

}  // namespace

Outcome<Scenario> complete_scenario(const Scenario& scenario) {
  Scenario whole = scenario;
  if (const auto completed = complete_steps(whole, ""); !completed) return completed.error();
  return whole;
}

Outcome<Scenario> parse_scenario(const std::string& text) {
  Scenario scenario;
  if (const auto read = from_user_json(text, scenario); !read) return read.error();
  return complete_scenario(scenario);
}

Outcome<ProviderConfig> parse_config(const std::string& text) {
  ProviderConfig config;
  if (const auto read = from_user_json(text, config); !read) return read.error();
  std::set<std::string> names;
  for (int i = 0; i < config.faults_size(); ++i) {
    const auto completed = complete(*config.mutable_faults(i), "faults[" + std::to_string(i) + "]",
                                    "config-" + std::to_string(i + 1), names);
    if (!completed) return completed.error();
  }
  if (config.has_scenario()) {
    const auto completed = complete_steps(*config.mutable_scenario(), "scenario.");
    if (!completed) return completed.error();
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
