// `supervisor report`: merges the evidence of all nodes into one HTML page, a text or JSON.
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <optional>
#include <set>

#include "common/cli/exit_code.h"
#include "common/io/fd.h"
#include "common/text/escape.h"
#include "common/text/protobuf.h"
#include "supervisor/commands/commands.h"
#include "supervisor/control/client.h"
#include "supervisor/control/provider.h"
#include "supervisor/report/log_lines.h"
#include "supervisor/report/page.h"
#include "supervisor/report/timeline.h"

namespace kms::supervisor {
namespace {

constexpr Duration answer_timeout = std::chrono::seconds(5);

struct ReportOptions {
  OutputFormat format = OutputFormat::text;
  std::vector<std::string> sources;
  std::string output;
  bool live = false;
};

void read_source(const std::string& source, report::Files& files) {
  if (source == "-") return report::read_tar(std::cin, "", files);
  if (!std::filesystem::is_regular_file(source)) return report::read_directory(source, files);
  std::ifstream archive(source, std::ios::binary);
  report::read_tar(archive, source, files);
}

std::string this_node() {
  if (const char* name = std::getenv("NODE_NAME"); name != nullptr && *name != '\0') return utf8_text(name);
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? utf8_text(name.data()) : "this machine";
}

/// Throws Error if no supervisor answers.
void ask_supervisor(const Endpoint& control, report::Evidence& evidence) {
  const ControlClient client(control, 0);
  report::PodEvidence pod{this_node(), control.uri()};
  pod.status = client.status(answer_timeout).value();
  auto& first = pod.status->instances_size() == 0 ? *pod.status : *pod.status->mutable_instances(0);
  if (pod.status->instances_size() == 0) add_provider_report(*pod.status);
  for (auto& instance : *pod.status->mutable_instances()) add_provider_report(instance);
  auto events = client.events(0, answer_timeout).value();
  for (auto& event : *events.mutable_events()) pod.events.push_back(std::move(event));
  report::LogHistory history;
  const auto output = client.output(0, answer_timeout).value();
  for (const auto& line : output.lines()) history.add(line.text());
  report::read_metrics(client.metrics(answer_timeout).value(), pod);
  if (!first.plugin_control().empty() &&
      !read_provider_calls(first.plugin_control(), pod.journal, pod.counts))
    evidence.problems.push_back(report::problem_of(
        first.plugin_control(), "mock-kms-provider does not answer; its journal and counters are missing"));
  history.prepend_to(pod.events, pod.journal);
  evidence.pods.push_back(std::move(pod));
}

/// A supervisor that does not answer becomes a problem in the evidence. Throws Error if none answers.
report::Evidence ask_all(const std::set<std::string>& sockets) {
  report::Evidence evidence;
  std::optional<Error> failure;
  for (const std::string& socket : sockets) {
    const auto endpoint = Endpoint::parse(socket);
    if (!endpoint) throw endpoint.error().within("--live").with(ErrorCode::invalid_input);
    try {
      ask_supervisor(*endpoint, evidence);
    } catch (const Error& error) {
      evidence.problems.push_back(report::problem_of(socket, error.cause()));
      failure = error;
    }
  }
  if (evidence.pods.empty() && failure) throw *failure;
  return evidence;
}

report::Evidence evidence_of(const ReportOptions& options, const std::string& control) {
  if (options.live) {
    return ask_all(options.sources.empty() ? std::set{control}
                                           : std::set(options.sources.begin(), options.sources.end()));
  }
  if (options.sources.empty())
    throw Error("nothing names the evidence",
                "name its directory, a tar archive or - for stdin; or ask running supervisors by --live",
                ErrorCode::invalid_input);
  report::Files files;
  for (const std::string& source : options.sources) read_source(source, files);
  report::Evidence evidence = report::evidence_of(files);
  if (evidence.pods.empty())
    throw Error("there is no evidence in " + in_quotes(options.sources.front(), 300),
                "name a directory with NODE/POD/status.json, as the cleanup step fills it; or ask running "
                "supervisors by --live",
                ErrorCode::invalid_input);
  return evidence;
}

int run(const ReportOptions& options, const std::string& control) {
  const auto report = report::merge(evidence_of(options, control));
  if (options.output == "-") {
    print(report::page(report));
    return exit_code::ok;
  }
  if (!options.output.empty()) write_file(options.output, report::page(report));
  print(options.format == OutputFormat::json ? to_json(report, JsonLayout::document)
                                             : report::report_text(report));
  return exit_code::ok;
}

}  // namespace

Command report_command(CommandLine& line, const std::string& control) {
  const auto options = std::make_shared<ReportOptions>();
  CLI::App& app = line.add_subcommand(
      "report", "Merge the evidence of all nodes into one timeline, as a page, text or JSON",
      {"supervisor report artifacts/kms-mock-plugin --output report.html",
       "supervisor report -o json artifacts/kms-mock-plugin",
       "supervisor report --live --output report.html"});
  app.add_option("EVIDENCE", options->sources,
                 "Directories or tar archives (not compressed) with the evidence, - for a tar archive on "
                 "stdin; with --live control sockets");
  add_format(app, options->format);
  app.add_option("--output", options->output,
                 "File for the HTML page; - writes the page to stdout instead of the text");
  app.add_flag("--live", options->live, "Ask running supervisors instead of reading files");
  return {&app, [&control, options] { return run(*options, control); }};
}

}  // namespace kms::supervisor
