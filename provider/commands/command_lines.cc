#include "provider/commands/command_lines.h"

#include <limits>
#include <memory>

#include "provider/commands/calls.h"
#include "provider/commands/config_calls.h"
#include "provider/commands/expect_calls.h"
#include "provider/commands/fault_calls.h"
#include "provider/commands/inspect_calls.h"
#include "provider/commands/journal_calls.h"
#include "provider/commands/rotate_calls.h"
#include "provider/commands/scenario_calls.h"

namespace kms::provider {
namespace {

using Examples = std::vector<std::string>;

void add_output(CLI::App& command, std::string& output) {
  command.add_option("-o,--output", output, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

void add_timeout(CLI::App& command, Duration& timeout) {
  add_duration(command, "--timeout", timeout, "Time to wait for the answer", std::chrono::milliseconds(1));
}

/// A command to any KMS v2 plugin.
CLI::App& add_call(CommandLine& line, const std::string& name, const std::string& purpose,
                   CallOptions& options, const Examples& examples) {
  CLI::App& call = *line.app().add_subcommand(name, purpose);
  call.add_option("--socket", options.socket, "Socket of the plugin: unix:///path or unix:///@abstract-name")
      ->capture_default_str();
  add_timeout(call, options.timeout);
  CommandLine::examples(call, examples);
  return call;
}

/// A command to a provider's control service.
CLI::App& add_control(CommandLine& line, const std::string& name, const std::string& purpose,
                      ControlOptions& options, const Examples& examples) {
  CLI::App& command = *line.app().add_subcommand(name, purpose);
  command.add_option("--socket", options.socket, "KMS socket of the running provider")->capture_default_str();
  command.add_option("--control-socket", options.control_socket, "Its control socket [beside --socket]");
  add_timeout(command, options.timeout);
  CommandLine::examples(command, examples);
  return command;
}

const std::string some_socket = "--socket unix:///tmp/kms.socket";

Command add_status(CommandLine& line) {
  const auto options = std::make_shared<CallOptions>();
  CLI::App& status = add_call(line, "status", "Ask a running plugin how it is", *options,
                              {"mock-kms-provider status " + some_socket + " -o json"});
  add_output(status, options->output);
  return {&status, [options] { return call_status(*options); }};
}

/// `encrypt` and `decrypt`.
Command add_crypt(CommandLine& line, const std::string& name, const std::string& purpose,
                  int (*run)(const CallOptions&), const std::string& example) {
  const auto options = std::make_shared<CallOptions>();
  CLI::App& call = add_call(line, name, purpose, *options, {example});
  call.add_option("--uid", options->uid, "Name of the request in the plugin's log")->capture_default_str();
  return {&call, [options, run] { return run(*options); }};
}

Command add_rotate(CommandLine& line) {
  const auto control = std::make_shared<ControlOptions>();
  const auto options = std::make_shared<RotateOptions>();
  CLI::App& rotate = add_control(line, "rotate", "Make another version of the key the current one", *control,
                                 {"mock-kms-provider rotate", "mock-kms-provider rotate --to 7"});
  rotate.add_option("--to", options->to, "Version to make current [the next one]")
      ->check(CLI::Range(KeyVersion{1}, std::numeric_limits<KeyVersion>::max()));
  rotate.add_flag("--force", options->force, "Allow a version that is not above all earlier ones");
  add_output(rotate, control->output);
  return {&rotate, [control, options] { return call_rotate(*control, *options); }};
}

Command add_keys(CommandLine& line) {
  const auto control = std::make_shared<ControlOptions>();
  CLI::App& keys = add_control(line, "keys", "List the versions of the key that were current", *control,
                               {"mock-kms-provider keys -o json"});
  add_output(keys, control->output);
  return {&keys, [control] { return call_keys(*control); }};
}

/// The options of `fault add` that say which calls meet it, and when.
void add_selection(CLI::App& add, FaultOptions& options) {
  add.add_option("--method", options.methods, "Which calls: status, encrypt, decrypt or all; may be repeated")
      ->allow_extra_args(false);
  add.add_option("--key-id", options.key_id, "Only calls whose key id fits this pattern of * and ?");
  add.add_option("--uid", options.uid, "Only calls whose uid fits this pattern");
  add.add_option("--node", options.node, "Only where NODE_NAME fits this pattern");
  add.add_option("--instance", options.instance, "Only where --instance of serve fits this pattern");
  add_duration(add, "--after", options.after, "Begin this much later");
  add_duration(add, "--for", options.lasting, "End this much after the beginning; 0: when it is cleared");
  add.add_option("--first", options.first, "Only the first so many calls of those");
  add.add_option("--every", options.every, "Only each n-th call of those");
  add.add_option("--probability", options.probability, "Only calls that chance selects, 0 to 1")
      ->check(CLI::Range(0.0, 1.0));
}

CLI::App& add_fault_add(CLI::App& fault, FaultOptions& options) {
  CLI::App& add = *fault.add_subcommand("add", "Set a fault");
  add.add_option("what", options.what, "An effect, violation or preset as below, or a fault as JSON")
      ->required();
  add.add_option("--name", options.name, "Name for list and clear; replaces the one that has it");
  add_selection(add, options);
  add.add_option("--code", options.code, "Of error: gRPC's code, UNAVAILABLE where it is not given");
  add.add_option("--text", options.text, "Of error, healthz and version: the text");
  add_duration(add, "--latency", options.latency, "Of latency: the least");
  add_duration(add, "--latency-max", options.latency_max, "Of latency: the most; 0: the least");
  add.add_flag("--long-tail", options.long_tail, "Of latency: mostly near the least, rarely near the most");
  add.add_option("--per-second", options.per_second, "Of rate-limit: calls that pass");
  add.add_option("--burst", options.burst, "Of rate-limit: calls that pass at once [1]");
  add.add_option("--exit-code", options.exit_code, "Of crash: the process' exit code")
      ->check(CLI::Range(0, 255));
  add.add_option("--signal", options.signal, "Of crash: the signal, such as SIGKILL");
  add.add_option("--mib", options.mib, "Of memory-growth: MiB that each call takes");
  add.footer(fault_words());
  return add;
}

void add_fault(CommandLine& line, std::vector<Command>& commands) {
  const auto control = std::make_shared<ControlOptions>();
  const auto options = std::make_shared<FaultOptions>();
  const auto name = std::make_shared<std::string>();
  CLI::App& fault =
      add_control(line, "fault", "Make the provider misbehave: fault add, fault list, fault clear", *control,
                  {"mock-kms-provider fault add key-disabled --for 30s",
                   "mock-kms-provider fault add error --code NOT_FOUND --method decrypt --every 3",
                   "mock-kms-provider fault list", "mock-kms-provider fault clear"});
  add_output(fault, control->output);
  fault.require_subcommand(1);
  CLI::App& add = add_fault_add(fault, *options);
  CLI::App& list = *fault.add_subcommand("list", "List the faults and how often they were met");
  CLI::App& clear = *fault.add_subcommand("clear", "Clear one fault, or all");
  clear.add_option("name", *name, "The fault [all]");
  commands.push_back({&add, [control, options] { return call_fault_add(*control, *options); }});
  commands.push_back({&list, [control] { return call_fault_list(*control); }});
  commands.push_back({&clear, [control, name] { return call_fault_clear(*control, *name); }});
}

Command add_journal(CommandLine& line) {
  const auto control = std::make_shared<ControlOptions>();
  const auto options = std::make_shared<JournalOptions>();
  CLI::App& journal =
      add_control(line, "journal", "Show the last calls and how they ended", *control,
                  {"mock-kms-provider journal --follow -o json", "mock-kms-provider journal --counts"});
  CLI::Option* follow = journal.add_flag("--follow", options->follow, "Go on with the calls as they come");
  journal.add_flag("--counts", options->counts, "How many calls ended how, since the start")
      ->excludes(follow);
  journal.add_flag("--last", options->last, "Digests of the last plaintexts of Encrypt and Decrypt")
      ->excludes(follow);
  journal.add_flag("--reveal", options->reveal, "The same with the plaintexts, in hex")->excludes(follow);
  add_output(journal, control->output);
  return {&journal, [control, options] { return call_journal(*control, *options); }};
}

Command add_metrics(CommandLine& line) {
  const auto control = std::make_shared<ControlOptions>();
  CLI::App& metrics = add_control(line, "metrics", "Print the metrics, as Prometheus would get them",
                                  *control, {"mock-kms-provider metrics"});
  return {&metrics, [control] { return call_metrics(*control); }};
}

Command add_expect(CommandLine& line) {
  const auto control = std::make_shared<ControlOptions>();
  const auto options = std::make_shared<ExpectOptions>();
  CLI::App& expect =
      add_control(line, "expect", "Exit with 0 or 1 by how many calls there were", *control,
                  {"mock-kms-provider expect 'decrypt == 0 since start'",
                   "mock-kms-provider expect 'encrypt.FAILED_PRECONDITION >= 1 since 30s' --within 30s"});
  expect.add_option("expectation", options->text, "WHAT OPERATOR NUMBER [since start | since DURATION]")
      ->required();
  add_duration(expect, "--within", options->within, "Wait until it holds, for this long at most");
  expect.add_option("--junit", options->junit, "File for a report in JUnit's form");
  return {&expect, [control, options] { return call_expect(*control, *options); }};
}

void add_scenario(CommandLine& line, std::vector<Command>& commands) {
  const auto control = std::make_shared<ControlOptions>();
  const auto options = std::make_shared<ScenarioOptions>();
  CLI::App& scenario = add_control(
      line, "scenario", "Play a timeline of faults and rotations: scenario run, status, stop", *control,
      {"mock-kms-provider scenario run outage.json --wait", "mock-kms-provider scenario status",
       "mock-kms-provider scenario stop"});
  add_output(scenario, control->output);
  scenario.require_subcommand(1);
  CLI::App& run = *scenario.add_subcommand("run", "Begin a scenario in place of the one before");
  run.add_option("file", options->file, "File with the scenario as JSON; -: standard input")->required();
  run.add_flag("--wait", options->wait, "Return when it is over; exit code 1 where a step failed");
  CLI::App& status = *scenario.add_subcommand("status", "Tell how far the scenario is");
  CLI::App& stop = *scenario.add_subcommand("stop", "End the scenario and its faults");
  commands.push_back({&run, [control, options] { return call_scenario_run(*control, *options); }});
  commands.push_back({&status, [control] { return call_scenario_status(*control); }});
  commands.push_back({&stop, [control] { return call_scenario_stop(*control); }});
}

Command add_config(CommandLine& line) {
  const auto control = std::make_shared<ControlOptions>();
  const auto file = std::make_shared<std::string>();
  CLI::App& config =
      add_control(line, "config", "Tell what became of the provider's --config, or check a file", *control,
                  {"mock-kms-provider config", "mock-kms-provider config --check provider.json"});
  config.add_option("--check", *file, "File to read as serve --config would, without a provider");
  add_output(config, control->output);
  return {&config, [control, file] { return file->empty() ? call_config(*control) : check_config(*file); }};
}

Command add_inspect(CommandLine& line) {
  const auto options = std::make_shared<InspectOptions>();
  CLI::App& inspect =
      *line.app().add_subcommand("inspect", "Tell what a value from etcd holds, and under which key");
  inspect.add_option("--file", options->file, "File with the value [standard input]");
  inspect.add_option("--encoding", options->encoding, "auto (find out), raw, hex or base64")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Encoding>{{"auto", Encoding::automatic},
                                                                          {"raw", Encoding::raw},
                                                                          {"hex", Encoding::hex},
                                                                          {"base64", Encoding::base64}}))
      ->type_name("ENCODING")
      ->default_str("auto");
  inspect.add_option("--key", options->etcd_key, "Its key in etcd [the line before a raw value]");
  inspect.add_option("--seed-file", options->seed_file,
                     "Seed of the provider's keys [--socket, else the published test seed]");
  inspect.add_option("--socket", options->socket, "A running plugin that decrypts in place of a seed");
  add_duration(inspect, "--timeout", options->timeout, "Time to wait for the plugin",
               std::chrono::milliseconds(1));
  inspect.add_option("--expect-key-id", options->expected_key_id,
                     "Fail unless it is encrypted under this key_id");
  CLI::Option* header = inspect.add_flag("--header-only", options->header_only, "Decrypt nothing");
  inspect.add_flag("--reveal", options->reveal, "Show the object's plaintext")->excludes(header);
  add_output(inspect, options->output);
  CommandLine::examples(inspect,
                        {"etcdctl get /registry/secrets/default/db | mock-kms-provider inspect",
                         "mock-kms-provider inspect --file value.b64 --key /registry/secrets/default/db "
                         "--expect-key-id default/v2/e1d6c1f0"});
  return {&inspect, [options] { return call_inspect(*options); }};
}

}  // namespace

std::vector<Command> add_commands(CommandLine& line) {
  std::vector<Command> commands;
  commands.push_back(add_status(line));
  commands.push_back(
      add_crypt(line, "encrypt", "Encrypt standard input by a running plugin; JSON on standard output",
                call_encrypt, "echo secret | mock-kms-provider encrypt " + some_socket + " > sealed.json"));
  commands.push_back(add_crypt(line, "decrypt", "Decrypt what encrypt printed, from standard input",
                               call_decrypt, "mock-kms-provider decrypt " + some_socket + " < sealed.json"));
  commands.push_back(add_rotate(line));
  commands.push_back(add_keys(line));
  add_fault(line, commands);
  commands.push_back(add_journal(line));
  commands.push_back(add_metrics(line));
  commands.push_back(add_expect(line));
  add_scenario(line, commands);
  commands.push_back(add_config(line));
  commands.push_back(add_inspect(line));
  return commands;
}

}  // namespace kms::provider
