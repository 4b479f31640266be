#include "provider/commands/fault_calls.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>

#include "common/cli/exit_code.h"
#include "common/text/protobuf.h"
#include "provider/commands/control_client.h"
#include "provider/faults/presets.h"

namespace kms::provider {
namespace {

using mock_kms::v1::Fault;

std::string constant(std::string word) {
  for (char& c : word) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return word;
}

std::string spelled(std::string word) {
  for (char& c : word) c = c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return word;
}

Outcome<> set_error(const FaultOptions& options, Fault& fault) {
  Fault::Code code = Fault::UNAVAILABLE;
  if (!options.code.empty() && !Fault::Code_Parse(constant(options.code), &code)) {
    return Error("--code: gRPC has no code '" + options.code + "'", "write it as FAILED_PRECONDITION");
  }
  fault.mutable_error()->set_code(code);
  fault.mutable_error()->set_message(options.text.empty() ? "an injected fault" : options.text);
  return {};
}

/// The effect that has a word of its own; false for every other word.
bool set_effect(const FaultOptions& options, Fault& fault) {
  const std::string& what = options.what;
  if (what == "latency") {
    *fault.mutable_latency()->mutable_min() = to_proto(options.latency);
    if (options.latency_max > Duration{0}) {
      *fault.mutable_latency()->mutable_max() = to_proto(options.latency_max);
    }
    if (options.long_tail) fault.mutable_latency()->set_long_tail(true);
  } else if (what == "hang") {
    fault.mutable_hang();
  } else if (what == "rate-limit") {
    fault.mutable_rate_limit()->set_per_second(options.per_second);
    fault.mutable_rate_limit()->set_burst(options.burst);
  } else if (what == "healthz") {
    fault.set_healthz(options.text);
  } else if (what == "version") {
    fault.set_version(options.text);
  } else if (what == "goaway" || what == "reset") {
    fault.set_drop(what == "goaway" ? Fault::GOAWAY : Fault::RESET);
  } else if (what == "crash") {
    if (options.exit_code > 0) fault.mutable_crash()->set_exit_code(options.exit_code);
    fault.mutable_crash()->set_signal(options.signal);
  } else if (what == "freeze") {
    fault.mutable_freeze();
  } else if (what == "memory-growth") {
    fault.mutable_memory_growth()->set_mib_per_call(options.mib);
  } else {
    return false;
  }
  return true;
}

Outcome<> set_selection(const FaultOptions& options, Fault& fault) {
  for (const std::string& word : options.methods) {
    if (word == "all") continue;
    Fault::Method method{};
    if (!Fault::Method_Parse(constant(word), &method)) {
      return Error("--method: there is no method '" + word + "'", "use status, encrypt, decrypt or all");
    }
    fault.add_methods(method);
  }
  if (!options.name.empty()) fault.set_name(options.name);
  if (!options.key_id.empty()) fault.set_key_id(options.key_id);
  if (!options.uid.empty()) fault.set_uid(options.uid);
  if (!options.node.empty()) fault.set_node(options.node);
  if (!options.instance.empty()) fault.set_instance(options.instance);
  if (options.after > Duration{0}) *fault.mutable_after() = to_proto(options.after);
  if (options.lasting > Duration{0}) *fault.mutable_lasting() = to_proto(options.lasting);
  if (options.first > 0) fault.set_first(options.first);
  if (options.every > 0) fault.set_every(options.every);
  if (options.probability) fault.set_probability(*options.probability);
  return {};
}

/// One line of `fault list`.
void print(const mock_kms::v1::FaultUse& use) {
  const std::string state = !use.applies_here() ? "elsewhere"
                            : use.replaced()    ? "replaced"
                            : use.over()        ? "over"
                                                : "set";
  Fault shown = use.fault();
  shown.clear_name();
  const std::string origin = spelled(mock_kms::v1::FaultUse::Origin_Name(use.origin()));
  std::printf("%-24s %-9s %-10s %8llu %8llu  %s\n", use.fault().name().c_str(), origin.c_str(), state.c_str(),
              static_cast<unsigned long long>(use.matched()), static_cast<unsigned long long>(use.applied()),
              to_short_json(shown).c_str());
}

/// Refuses what is given for an effect that another word stands for: it would change nothing.
Outcome<> refuse_misplaced(const FaultOptions& options) {
  const auto is_one_of = [&](auto... words) { return ((options.what == words) || ...); };
  struct Of {
    const char* name;
    bool given;
    bool has_place;
  };
  const std::array all{
      Of{"--code", !options.code.empty(), is_one_of("error")},
      Of{"--text", !options.text.empty(), is_one_of("error", "healthz", "version")},
      Of{"--latency", options.latency > Duration{0}, is_one_of("latency")},
      Of{"--latency-max", options.latency_max > Duration{0}, is_one_of("latency")},
      Of{"--long-tail", options.long_tail, is_one_of("latency")},
      Of{"--per-second", options.per_second != 0, is_one_of("rate-limit")},
      Of{"--burst", options.burst > 0, is_one_of("rate-limit")},
      Of{"--exit-code", options.exit_code > 0, is_one_of("crash")},
      Of{"--signal", !options.signal.empty(), is_one_of("crash")},
      Of{"--mib", options.mib > 0, is_one_of("memory-growth")},
  };
  const auto misplaced = std::find_if(all.begin(), all.end(),
                                      [](const Of& option) { return option.given && !option.has_place; });
  if (misplaced == all.end()) return {};
  return Error(std::string(misplaced->name) + " says nothing about '" + options.what + "'",
               R"(a preset is changed by JSON, such as '{"preset": "slow", "latency": {"max": "9s"}}')");
}

/// The fault that the options ask for, not completed; a Error names what is wrong.
Outcome<Fault> fault_of(const FaultOptions& options) {
  if (const auto outcome = refuse_misplaced(options); !outcome) return outcome.error();
  Fault fault;
  if (options.what == "error") {
    if (const auto outcome = set_error(options, fault); !outcome) return outcome.error();
  } else if (!set_effect(options, fault)) {
    auto read = read_fault(options.what);
    if (!read) return read.error();
    fault = *std::move(read);
  }
  if (const auto outcome = set_selection(options, fault); !outcome) return outcome.error();
  return fault;
}

}  // namespace

std::string fault_words() {
  std::string words =
      "Effects:\n"
      "  error              the call fails with --code and --text\n"
      "  latency            the answer comes later by --latency, up to --latency-max, with a --long-tail or "
      "evenly\n"
      "  hang               no answer until the client gives up\n"
      "  rate-limit         RESOURCE_EXHAUSTED for what comes faster than --per-second\n"
      "  healthz, version   Status answers with --text there\n"
      "  goaway, reset      every connection is told to go, or is cut\n"
      "  crash              the process ends with --exit-code or by --signal\n"
      "  freeze             the process stops until SIGCONT\n"
      "  memory-growth      each call takes --mib of memory, up to 1 GiB\n"
      "Violations of the contract:\n";
  for (int i = 1; i < Fault::Violation_ARRAYSIZE; ++i) {
    words += "  " + spelled(Fault::Violation_Name(static_cast<Fault::Violation>(i))) + "\n";
  }
  words += "Presets:\n";
  for (const Preset& preset : presets()) {
    words += "  " + preset.name + std::string(preset.name.size() < 19 ? 19 - preset.name.size() : 1, ' ') +
             preset.meaning + "\n";
  }
  return words;
}

int call_fault_add(const ControlOptions& control, const FaultOptions& options) {
  const auto fault = fault_of(options);
  if (!fault) throw Unanswered{exit_code::usage, fault.error().line()};
  const auto reply = ControlClient(control).call(*fault, &ControlClient::Stub::AddFault);
  if (control.output == "json") {
    std::printf("%s\n", to_json(reply, JsonLayout::line).c_str());
  } else {
    std::printf("%s%s\n", reply.name().c_str(),
                reply.applies_here() ? "" : "  (its node or instance is another one: no effect here)");
  }
  return exit_code::ok;
}

int call_fault_list(const ControlOptions& control) {
  const auto list =
      ControlClient(control).call(mock_kms::v1::ListFaultsRequest(), &ControlClient::Stub::ListFaults);
  if (control.output == "json") {
    std::printf("%s", to_json(list, JsonLayout::document).c_str());
    return exit_code::ok;
  }
  std::printf("%-24s %-9s %-10s %8s %8s  %s\n", "NAME", "FROM", "STATE", "MATCHED", "APPLIED", "FAULT");
  for (const auto& use : list.faults()) print(use);
  return exit_code::ok;
}

int call_fault_clear(const ControlOptions& control, const std::string& name) {
  mock_kms::v1::ClearFaultsRequest request;
  request.set_name(name);
  const auto reply = ControlClient(control).call(request, &ControlClient::Stub::ClearFaults);
  if (control.output == "json") {
    std::printf("%s\n", to_json(reply, JsonLayout::line).c_str());
  } else {
    std::printf("cleared %u%s\n", reply.cleared(),
                reply.kept() == 0
                    ? ""
                    : ("; " + std::to_string(reply.kept()) + " of --config or a scenario stay").c_str());
  }
  return exit_code::ok;
}

}  // namespace kms::provider
