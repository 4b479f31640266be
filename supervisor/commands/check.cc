// `supervisor check`: tests any plugin against the rules of the KMS v2 contract.
#include <cerrno>
#include <memory>

#include "common/cli/exit_code.h"
#include "common/io/fd.h"
#include "common/net/unix_connection.h"
#include "common/process/startup.h"
#include "common/text/junit.h"
#include "common/text/protobuf.h"
#include "supervisor/commands/commands.h"
#include "supervisor/conformance/report.h"
#include "supervisor/conformance/survey.h"

namespace kms::supervisor {
namespace {

using Clock = std::chrono::steady_clock;

struct CheckOptions {
  std::string endpoint;
  std::vector<std::string> replicas;
  conformance::SurveyLimits limits;
  OutputFormat format = OutputFormat::text;
  std::string junit;  ///< file for a JUnit report; empty: none
  bool strict = false;
  bool quiet = false;
};

Endpoint parse_endpoint(const std::string& text) {
  auto endpoint = Endpoint::parse(text);
  if (!endpoint) throw endpoint.error().with(ErrorCode::invalid_input);
  return *std::move(endpoint);
}

/// Throws Error with the next step if nothing can be surveyed at the endpoint, which `argument` named.
void require_listener(const Endpoint& endpoint, const std::string& argument) {
  if (connect_to(endpoint)) return;
  const int error = errno;
  const std::string problem = connect_error_text(endpoint, error);
  const std::string cause =
      problem == errno_text(ECONNREFUSED) ? " (the plugin that made this socket is dead)" : std::string();
  const std::string next_step = error == EACCES
                                    ? "run as the plugin's user or as root"
                                    : "start the plugin, or name another " + argument + answering_providers();
  throw Error("cannot connect to " + endpoint.uri() + ": " + problem + cause, next_step,
              ErrorCode::unreachable);
}

void print_report(mock_kms::v1::CheckReport report, const CheckOptions& options) {
  if (options.format == OutputFormat::text)
    return print(conformance::report_text(
        report, options.quiet ? conformance::Rows::not_passed : conformance::Rows::all));
  if (options.quiet) conformance::remove_passed(report);
  print(to_json(report, JsonLayout::document));
}

/// Exits with 1 if the plugin breaks a MUST, or with --strict any rule.
int run(const CheckOptions& options) {
  const auto start = Clock::now();
  const Endpoint endpoint = parse_endpoint(options.endpoint);
  std::vector<Endpoint> replicas;
  for (const std::string& replica : options.replicas) replicas.push_back(parse_endpoint(replica));
  require_listener(endpoint, "ENDPOINT");
  for (const Endpoint& replica : replicas) require_listener(replica, "--replica");

  process::require_room();
  const conformance::Observations seen = conformance::survey(endpoint, replicas, options.limits);
  auto report = conformance::report_on(seen);
  if (options.strict) conformance::judge_strictly(report);
  report.set_endpoint(endpoint.uri());
  for (const Endpoint& replica : replicas) report.add_replicas(replica.uri());
  if (!options.junit.empty())
    write_file(options.junit, conformance::report_junit(report, Clock::now() - start, options.strict));
  print_report(report, options);
  if (seen.out_of_time)
    throw Error("the check did not finish within " + go_duration(options.limits.deadline),
                "give it a longer --deadline");
  const bool is_kms = seen.statuses.empty() || !seen.statuses.front().cause.starts_with("UNIMPLEMENTED");
  if (!is_kms)
    throw Error("Status is not implemented there; " + live_holder(endpoint).value_or("nobody") +
                    " listens on " + endpoint.uri(),
                "if that is not a KMS plugin, name the plugin's socket");
  return report.conforms() ? exit_code::ok : exit_code::failed;
}

}  // namespace

Command check_command(CommandLine& line) {
  const auto options = std::make_shared<CheckOptions>();
  CLI::App& app = line.add_subcommand(
      "check", "Test any plugin against the rules of KMS v2; exit with 1 if it breaks one",
      {"supervisor check unix:///var/run/kmsplugin/kms.sock",
       "supervisor check unix:///run/a.sock --replica unix:///run/b.sock --junit kms.xml",
       "supervisor check --strict --quiet unix:///@kms"});
  app.add_option("endpoint", options->endpoint, "The plugin: unix:///path or unix:///@abstract")->required();
  app.add_option("--replica", options->replicas,
                 "Another replica that shares the plugin's keys; may be repeated")
      ->allow_extra_args(false);
  line.explain_argument(app, "name one ENDPOINT, and others with --replica");
  add_duration(app, "--timeout", options->limits.timeout, "Deadline of each call",
               std::chrono::milliseconds(1));
  add_duration(app, "--deadline", options->limits.deadline, "Deadline of the whole check",
               std::chrono::milliseconds(1));
  add_format(app, options->format);
  app.add_option("--junit", options->junit, "File for a JUnit report");
  app.add_flag("--strict", options->strict, "A plugin that breaks a SHOULD does not conform either");
  app.add_flag("--quiet", options->quiet, "Print only the rules that did not pass");
  return {&app, [options] { return run(*options); }};
}

}  // namespace kms::supervisor
