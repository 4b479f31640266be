#include "supervisor/commands/check.h"

#include <cerrno>
#include <cstdio>

#include "common/cli/exit_code.h"
#include "common/net/unix_connection.h"
#include "common/text/junit.h"
#include "common/text/protobuf.h"
#include "supervisor/conformance/report.h"

namespace kms::supervisor {
namespace {

using Clock = std::chrono::steady_clock;

/// Why nothing can be surveyed at the endpoint, with the next step.
Outcome<> obstacle(const Endpoint& endpoint) {
  if (connect_to(endpoint)) return {};
  const int error = errno;
  const std::string cause = "cannot connect to " + endpoint.uri() + ": " + errno_text(error);
  if (error == EACCES) return Error(cause, "run as the plugin's user or as root");
  if (error == ECONNREFUSED) return Error(cause, "the plugin that made this socket is dead; start it again");
  return Error(cause, "start the plugin first, or name its socket");
}

void print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw_errno("write to standard output");
  }
}

}  // namespace

CLI::App& add_check(CommandLine& line, CheckOptions& options) {
  CLI::App& check =
      *line.app().add_subcommand("check", "Hold any KMS v2 plugin against the contract's rules");
  check.add_option("endpoint", options.endpoint, "The plugin: unix:///path or unix:///@abstract")->required();
  check.add_option("--replica", options.replicas, "Another replica that shares its keys; may be repeated")
      ->allow_extra_args(false);
  add_duration(check, "--timeout", options.limits.timeout, "The deadline of each call",
               std::chrono::milliseconds(1));
  add_duration(check, "--deadline", options.limits.deadline, "The deadline of the whole check",
               std::chrono::milliseconds(1));
  check.add_option("-o,--output", options.output, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  check.add_option("--junit", options.junit, "File for a report in JUnit's form");
  CommandLine::examples(check,
                        {"supervisor check unix:///var/run/kmsplugin/kms.sock",
                         "supervisor check unix:///run/a.sock --replica unix:///run/b.sock --junit kms.xml"});
  return check;
}

int run_check(const CommandLine& line, const CheckOptions& options) {
  std::vector<Endpoint> endpoints;
  std::vector<std::string> texts{options.endpoint};
  texts.insert(texts.end(), options.replicas.begin(), options.replicas.end());
  for (const std::string& text : texts) {
    auto endpoint = Endpoint::parse(text);
    if (!endpoint) return line.usage_error(endpoint.error().line());
    endpoints.push_back(*std::move(endpoint));
  }
  for (const Endpoint& endpoint : endpoints) {
    if (const auto reachable = obstacle(endpoint); !reachable) {
      std::fprintf(stderr, "supervisor: %s\n", reachable.error().line().c_str());
      return exit_code::unreachable;
    }
  }
  const auto begun = Clock::now();
  const Endpoint endpoint = endpoints.front();
  endpoints.erase(endpoints.begin());
  const conformance::Observations seen = conformance::survey(endpoint, endpoints, options.limits);
  auto report = conformance::report_on(seen);
  report.set_endpoint(endpoint.uri());
  for (const Endpoint& replica : endpoints) report.add_replicas(replica.uri());
  if (!options.junit.empty())
    write_report(options.junit, conformance::report_junit(report, Clock::now() - begun));
  print(options.output == "json" ? to_json(report, JsonLayout::document) : conformance::report_text(report));
  if (seen.out_of_time) {
    std::fprintf(stderr, "supervisor: the check was not finished within %s; give it a longer --deadline\n",
                 go_duration(options.limits.deadline).c_str());
    return exit_code::failed;
  }
  return report.conforms() ? exit_code::ok : exit_code::failed;
}

}  // namespace kms::supervisor
