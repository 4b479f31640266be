// `fault` makes the provider misbehave: fault add, fault list, fault clear.
#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>
#include <optional>

#include "common/cli/exit_code.h"
#include "common/text/escape.h"
#include "common/text/nearest.h"
#include "common/text/protobuf.h"
#include "provider/commands/client.h"
#include "provider/commands/commands.h"
#include "provider/faults/presets.h"

namespace kms::provider {
namespace {

using mock_kms::v1::Fault;

/// Empty or 0 means not given, except for the probability and --mib.
struct FaultOptions : ProviderOptions {
  OutputFormat format = OutputFormat::text;
  std::string what;  ///< an effect, a violation, a preset or JSON
  // Selection of calls.
  Fault selection;  ///< name and patterns
  std::vector<std::string> methods;
  Duration after{0};
  Duration lasting{0};
  std::uint32_t first = 0;
  std::uint32_t every = 0;
  std::optional<double> probability;
  // Parameters of an effect.
  std::string code;
  std::string text;
  Duration latency{0};
  Duration latency_max{0};
  bool long_tail = false;
  double per_second = 0;
  std::uint32_t burst = 0;
  std::uint32_t exit_code = 0;
  std::string signal;
  std::uint32_t mib = 1;
};

void set_error(const FaultOptions& options, Fault& fault) {
  Fault::Code code = Fault::UNAVAILABLE;
  if (!options.code.empty() && !Fault::Code_Parse(enum_name(options.code), &code)) {
    const std::string near = did_you_mean_value(enum_name(options.code), *Fault::Code_descriptor());
    throw bad_input("--code: gRPC has no code '" + options.code + "'" + near,
                    near.empty() ? "name one such as UNAVAILABLE, NOT_FOUND or FAILED_PRECONDITION" : "");
  }
  fault.mutable_error()->set_code(code);
  fault.mutable_error()->set_message(options.text.empty() ? "an injected fault" : options.text);
}

void set_latency(const FaultOptions& options, Fault& fault) {
  const bool is_random = options.latency_max > Duration{0};
  if (options.latency <= Duration{0} && !is_random)
    throw bad_input("latency needs --latency or --latency-max");
  if (options.long_tail && !is_random) throw bad_input("--long-tail needs --latency-max");
  if (is_random && options.latency_max < options.latency)
    throw bad_input("--latency-max is less than --latency");
  auto& latency = *fault.mutable_latency();
  *latency.mutable_min() = to_proto(options.latency);
  if (is_random) *latency.mutable_max() = to_proto(options.latency_max);
  if (options.long_tail) latency.set_long_tail(true);
}

void set_rate_limit(const FaultOptions& options, Fault& fault) {
  if (!(options.per_second > 0)) throw bad_input("rate-limit needs --per-second above 0");
  fault.mutable_rate_limit()->set_per_second(options.per_second);
  fault.mutable_rate_limit()->set_burst(options.burst);
}

void set_memory_growth(const FaultOptions& options, Fault& fault) {
  if (options.mib == 0) throw bad_input("memory-growth needs --mib above 0");
  fault.mutable_memory_growth()->set_mib_per_call(options.mib);
}

void set_crash(const FaultOptions& options, Fault& fault) {
  if (options.exit_code > 0) fault.mutable_crash()->set_exit_code(options.exit_code);
  fault.mutable_crash()->set_signal(options.signal);
}

struct Effect {
  const char* word;
  const char* help;
  std::vector<std::string> parameters;  ///< options that no other word has a use for
  void (*set)(const FaultOptions& options, Fault& fault);
};

const std::vector<Effect>& effects() {
  static const std::vector<Effect> all{
      {"error", "the call fails with --code and --text", {"--code", "--text"}, set_error},
      {"latency",
       "the answer is late by --latency, up to --latency-max, with a --long-tail or evenly",
       {"--latency", "--latency-max", "--long-tail"},
       set_latency},
      {"hang", "no answer until the client gives up", {}, [](const auto&, auto& f) { f.mutable_hang(); }},
      {"rate-limit",
       "RESOURCE_EXHAUSTED for calls faster than --per-second",
       {"--per-second", "--burst"},
       set_rate_limit},
      {"healthz",
       "Status answers with --text as its healthz",
       {"--text"},
       [](const auto& o, auto& f) { f.set_healthz(o.text); }},
      {"version",
       "Status answers with --text as its version",
       {"--text"},
       [](const auto& o, auto& f) { f.set_version(o.text); }},
      {"goaway",
       "clients are asked to reconnect",
       {},
       [](const auto&, auto& f) { f.set_drop(Fault::GOAWAY); }},
      {"reset", "every connection is cut", {}, [](const auto&, auto& f) { f.set_drop(Fault::RESET); }},
      {"crash", "the process ends with --exit-code or by --signal", {"--exit-code", "--signal"}, set_crash},
      {"freeze", "the process stops until SIGCONT", {}, [](const auto&, auto& f) { f.mutable_freeze(); }},
      {"memory-growth", "each call takes --mib of memory, up to 1 GiB", {"--mib"}, set_memory_growth},
  };
  return all;
}

/// In the order of the enum, from 1.
constexpr std::array<const char*, Fault::Violation_ARRAYSIZE - 1> violation_meanings{
    "Status and Encrypt name no key_id",
    "the key_id has 1025 bytes",
    "the key_id is not UTF-8",
    "every other Status names the next key version",
    "Encrypt is one key version ahead of Status",
    "Encrypt answers with no ciphertext",
    "the ciphertext has 1025 bytes",
    "the ciphertext is the plaintext",
    "the name of an annotation is not a domain name",
    "the annotations have more than 32 KiB",
    "Decrypt returns a plaintext with one wrong bit",
    "calls whose :authority is localhost fail with UNAUTHENTICATED",
    "an annotation holds the plaintext",
    "equal plaintexts give equal ciphertexts",
    "Decrypt answers with 'garbage' instead of an error",
};

std::string violation_word(int number) {
  return enum_word(Fault::Violation_Name(static_cast<Fault::Violation>(number)));
}

const Effect* find_effect(const std::string& word) {
  const auto found = std::find_if(effects().begin(), effects().end(),
                                  [&](const Effect& effect) { return effect.word == enum_word(word); });
  return found == effects().end() ? nullptr : &*found;
}

std::string help_row(const std::string& word, const std::string& help) {
  constexpr std::size_t width = 24;  // more than the longest word has
  return "  " + word + std::string(width - word.size(), ' ') + help + "\n";
}

/// The words that `fault add` takes, for its help.
std::string words_help() {
  std::string help = "Effects:\n";
  for (const Effect& effect : effects()) help += help_row(effect.word, effect.help);
  help += "Violations of the contract:\n";
  for (int i = 1; i < Fault::Violation_ARRAYSIZE; ++i) {
    help += help_row(violation_word(i), violation_meanings.at(static_cast<std::size_t>(i) - 1));
  }
  help += "Presets:\n";
  for (const Preset& preset : presets()) help += help_row(preset.name, preset.meaning);
  return help;
}

void set_selection(const FaultOptions& options, Fault& fault) {
  fault.MergeFrom(options.selection);
  for (const std::string& word : options.methods) {
    if (word == "all") continue;
    Fault::Method method{};
    if (!Fault::Method_Parse(enum_name(word), &method)) {
      throw bad_input("--method: there is no method '" + word + "'",
                      "use status, encrypt, decrypt, version or all");
    }
    fault.add_methods(method);
  }
  if (options.after > Duration{0}) *fault.mutable_after() = to_proto(options.after);
  if (options.lasting > Duration{0}) *fault.mutable_lasting() = to_proto(options.lasting);
  if (options.first > 0) fault.set_first(options.first);
  if (options.every > 0) fault.set_every(options.every);
  if (options.probability) fault.set_probability(*options.probability);
}

/// "'error', 'healthz' and 'version'" for --text.
std::string effects_of(const std::string& option) {
  std::vector<std::string> words;
  for (const Effect& effect : effects()) {
    if (std::count(effect.parameters.begin(), effect.parameters.end(), option) > 0)
      words.push_back("'" + std::string(effect.word) + "'");
  }
  std::string text = words.front();
  for (std::size_t i = 1; i < words.size(); ++i) text += (i + 1 == words.size() ? " and " : ", ") + words[i];
  return text;
}

/// Refuses options that have no effect with `what`. `fault` is the parsed fault if `what` is not an effect.
void refuse_other_parameters(const CLI::App& add, const std::string& what, const Effect* effect,
                             const Fault& fault) {
  for (const Effect& other : effects()) {
    for (const std::string& option : other.parameters) {
      const bool has_use =
          effect != nullptr && std::count(effect->parameters.begin(), effect->parameters.end(), option) > 0;
      if (has_use || add.get_option(option)->count() == 0) continue;
      if (effect != nullptr || (!what.starts_with('{') && fault.has_violation()))
        throw bad_input(option + " belongs to " + effects_of(option));
      throw bad_input(
          option + " has no effect on '" + what + "'",
          R"(a preset is changed by JSON, such as '{"preset": "slow", "latency": {"max": "9s"}}')");
    }
  }
}

/// Reads what is not an effect. The Error names the nearest effect, violation or preset.
Fault read_other(const std::string& text) {
  Fault fault = valid_input(read_fault(text));
  if (text.starts_with('{') || fault.preset().empty() || preset_named(fault.preset()) != nullptr)
    return fault;
  std::vector<std::string> words;
  for (const Effect& effect : effects()) words.emplace_back(effect.word);
  for (int i = 1; i < Fault::Violation_ARRAYSIZE; ++i) words.push_back(violation_word(i));
  for (const Preset& preset : presets()) words.push_back(preset.name);
  throw bad_input(
      "there is no effect, violation or preset '" + text + "'" + did_you_mean(enum_word(text), words),
      "'fault add --help' lists them");
}

int run_add(const FaultOptions& options, const CLI::App& add) {
  const Effect* effect = find_effect(options.what);
  Fault fault;
  if (effect == nullptr) fault = read_other(options.what);
  refuse_other_parameters(add, options.what, effect, fault);
  if (effect != nullptr) effect->set(options, fault);
  set_selection(options, fault);
  const auto reply = ControlClient(options).call(fault, &ControlClient::Stub::AddFault);
  if (options.format == OutputFormat::json) {
    std::printf("%s\n", to_json(reply, JsonLayout::line).c_str());
  } else {
    std::printf("%s%s\n", visible_text(reply.name()).c_str(),
                reply.applies_here() ? "" : "  (its node or instance is another one: no effect here)");
  }
  return exit_code::ok;
}

void print_fault(const mock_kms::v1::FaultUse& use) {
  const std::string state = enum_word(mock_kms::v1::FaultUse::State_Name(use.state()));
  Fault shown = use.fault();
  shown.clear_name();
  const std::string origin = enum_word(mock_kms::v1::FaultUse::Origin_Name(use.origin()));
  std::printf("%-24s %-9s %-10s %8llu %8llu  %s\n", visible_text(use.fault().name()).c_str(), origin.c_str(),
              state.c_str(), static_cast<unsigned long long>(use.matched()),
              static_cast<unsigned long long>(use.applied()), to_user_json(shown).c_str());
}

int run_list(const FaultOptions& options) {
  const auto list =
      ControlClient(options).call(mock_kms::v1::ListFaultsRequest(), &ControlClient::Stub::ListFaults);
  if (options.format == OutputFormat::json) {
    print(to_json(list, JsonLayout::document));
    return exit_code::ok;
  }
  std::printf("%-24s %-9s %-10s %8s %8s  %s\n", "NAME", "ORIGIN", "STATE", "MATCHED", "APPLIED", "FAULT");
  for (const auto& use : list.faults()) print_fault(use);
  return exit_code::ok;
}

int run_clear(const FaultOptions& options) {
  mock_kms::v1::ClearFaultsRequest request;
  request.set_name(options.selection.name());
  const auto reply = ControlClient(options).call(request, &ControlClient::Stub::ClearFaults);
  if (options.format == OutputFormat::json) {
    std::printf("%s\n", to_json(reply, JsonLayout::line).c_str());
    return exit_code::ok;
  }
  std::printf("cleared %u", reply.cleared());
  if (reply.over() > 0) std::printf("; %u %s over already", reply.over(), reply.over() == 1 ? "was" : "were");
  if (reply.kept() > 0) {
    std::printf(reply.kept() == 1 ? "; %u stays: end it by 'scenario stop' or in the file of --config"
                                  : "; %u stay: end them by 'scenario stop' or in the file of --config",
                reply.kept());
  }
  std::printf("\n");
  return exit_code::ok;
}

const CLI::Range at_least_one(1U, std::numeric_limits<std::uint32_t>::max());

void add_selection_options(CLI::App& add, FaultOptions& options) {
  add.add_option("--method", options.methods,
                 "Only these calls: status, encrypt, decrypt, version (of KMS v1) or all; repeatable or "
                 "separated by commas")
      ->delimiter(',')
      ->allow_extra_args(false);
  add.add_option("--key-id", *options.selection.mutable_key_id(),
                 "Only calls whose key id matches this pattern of * and ?");
  add.add_option("--uid", *options.selection.mutable_uid(), "Only calls whose uid matches this pattern");
  add.add_option("--node", *options.selection.mutable_node(), "Only if NODE_NAME matches this pattern");
  add.add_option("--instance", *options.selection.mutable_instance(),
                 "Only if --instance of serve matches this pattern");
  add_duration(add, "--after", options.after, "Begin this much later");
  add_duration(add, "--for", options.lasting, "End this much after the beginning; 0: when it is cleared");
  add.add_option("--first", options.first, "Only the first N of the selected calls")->check(at_least_one);
  add.add_option("--every", options.every, "Only each Nth of the selected calls")->check(at_least_one);
  add.add_option("--probability", options.probability, "Only calls that chance selects, 0 to 1")
      ->check(CLI::Range(0.0, 1.0));
}

void add_parameters(CLI::App& add, FaultOptions& options) {
  add.add_option("--code", options.code, "error: gRPC's code, such as NOT_FOUND [UNAVAILABLE]");
  add.add_option("--text", options.text, "error, healthz, version: the text in the answer");
  add_duration(add, "--latency", options.latency, "latency: the delay, or its minimum");
  add_duration(add, "--latency-max", options.latency_max,
               "latency: the maximum of a random delay; 0: no randomness");
  add.add_flag("--long-tail", options.long_tail, "latency: mostly near the minimum, rarely near the maximum");
  add.add_option("--per-second", options.per_second, "rate-limit: calls that pass per second");
  add.add_option("--burst", options.burst, "rate-limit: calls that pass at once [1]");
  add.add_option("--exit-code", options.exit_code, "crash: the exit code [0]")->check(CLI::Range(0, 255));
  add.add_option("--signal", options.signal, "crash: the signal, such as SIGKILL [none]");
  add.add_option("--mib", options.mib, "memory-growth: MiB that each call takes [1]");
}

}  // namespace

Command fault_command(CommandLine& line) {
  const auto options = std::make_shared<FaultOptions>();
  CLI::App& command =
      line.add_subcommand("fault", "Make the provider misbehave: add a fault, list the faults, clear them",
                          {"mock-kms-provider fault add key-disabled --for 30s",
                           "mock-kms-provider fault add error --code NOT_FOUND --method decrypt --every 3",
                           "mock-kms-provider fault list", "mock-kms-provider fault clear"});
  add_provider_options(command, *options);
  add_format(command, options->format);
  line.explain_argument(command, "'fault clear' ends a fault");
  command.require_subcommand(1);
  CLI::App& add = CommandLine::add_nested(
      command, "add", "Set a fault, at once and without a restart",
      {"mock-kms-provider fault add unavailable --for 30s",
       "mock-kms-provider fault add error --code NOT_FOUND --text 'key not found' --method decrypt --every 3",
       "mock-kms-provider fault add latency --latency 2s --latency-max 4s --name slow-kms",
       "mock-kms-provider fault add hang --method encrypt --first 5",
       R"(mock-kms-provider fault add '{"preset": "flaky", "probability": 0.9}')"},
      words_help() + "\n");
  add.add_option("what", options->what, "An effect, a violation, a preset, or a fault as JSON")->required();
  line.explain_argument(add, "give a value by its option, such as --latency 500ms");
  add.add_option("--name", *options->selection.mutable_name(),
                 "Name for list and clear; a fault of the same name is replaced");
  add_selection_options(add, *options);
  add_parameters(add, *options);
  CLI::App& list =
      CommandLine::add_nested(command, "list", "List the faults and the number of calls that met them",
                              {"mock-kms-provider fault list -o json"});
  CLI::App& clear =
      CommandLine::add_nested(command, "clear", "Clear one fault, or all that commands set",
                              {"mock-kms-provider fault clear", "mock-kms-provider fault clear fault-1"});
  clear.add_option("name", *options->selection.mutable_name(), "The fault [all]");
  return {&command, [options, &add, &list] {
            return add.parsed()    ? run_add(*options, add)
                   : list.parsed() ? run_list(*options)
                                   : run_clear(*options);
          }};
}

}  // namespace kms::provider
