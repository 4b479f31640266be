// Parses the command line, wires the parts and runs a command.
#include <sys/prctl.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string>

#include "builder/commands/build.h"
#include "builder/commands/export.h"
#include "builder/sandbox/sandbox.h"
#include "builder/sandbox/step.h"
#include "common/build_info/build_info.h"
#include "common/cli/command_line.h"
#include "common/cli/exit_code.h"
#include "common/text/escape.h"

namespace {

namespace fs = std::filesystem;
using namespace kms;
using namespace kms::builder;

/// The options of `builder fetch` as they were given.
struct FetchOptions {
  SourceOptions source;
  ReportOptions report;
  std::string into;
  std::string format = "text";
};

void add_format(CLI::App& command, std::string& format) {
  command.add_option("-o,--format", format, "What is printed on stdout at the end: text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

void add_fetch(CommandLine& line, FetchOptions& options) {
  CLI::App* command =
      line.app().add_subcommand("fetch", "Fetch directories of a git repository, and nothing else");
  add_source_options(*command, options.source, "Directory or file to fetch, repeatable (default: all)");
  command->add_option("--into", options.into, "Directory to make; it may be there where it is empty")
      ->required();
  add_format(*command, options.format);
  add_report_options(*command, options.report);
  CommandLine::examples(*command,
                        {"builder fetch --repo https://git.example.org/huge.git --path docs --into docs"});
}

void add_build(CommandLine& line, BuildOptions& options, std::string& format) {
  CLI::App* command =
      line.app().add_subcommand("build", "Fetch directories of a git repository, compile and publish them");
  add_build_options(*command, options);
  add_format(*command, format);
  CommandLine::examples(*command,
                        {"builder build --output /plugin/mock-kms-provider",
                         "builder build --repo https://git.example.org/plugin.git --ref v1.2.0 -o json",
                         "builder build --profile openshift --output /plugin/"});
}

const char* verb_of(BuildResult::Kind kind) {
  switch (kind) {
    case BuildResult::Kind::compiled:
      return "Published:";
    case BuildResult::Kind::from_cache:
      return "From the cache:";
    case BuildResult::Kind::up_to_date:
      return "Up to date:";
  }
  return "";
}

void print(const BuildResult& result, const std::string& format) {
  const auto& info = result.info;
  if (format == "json") {
    std::fputs(build_info_json(info).c_str(), stdout);
    return;
  }
  std::printf("%s %s\n  %s (%s)\n  commit %s of %s (%s)\n  sha256 %s\n", verb_of(result.kind),
              info.binary().path().c_str(), visible_text(utf8_text(info.binary().version())).c_str(),
              human_bytes(info.binary().size()).c_str(), info.commit().c_str(), info.repository().c_str(),
              info.ref().c_str(), info.binary().sha256().c_str());
}

void print(const Exported& exported, const fs::path& into, const std::string& format) {
  const auto& info = exported.info;
  if (format == "json") {
    std::fputs(build_info_json(info).c_str(), stdout);
    return;
  }
  std::printf("Fetched: %s\n  %zu files (%s)\n  commit %s of %s (%s)\n  moved %s in %u requests (%s)\n",
              into.c_str(), exported.checkout.files, human_bytes(exported.checkout.bytes).c_str(),
              info.commit().c_str(), info.repository().c_str(), info.ref().c_str(),
              human_bytes(info.transfer().bytes()).c_str(), info.transfer().requests(),
              info.transfer().strategy().c_str());
}

/// What was printed has to arrive: a script reads it.
void finish_printing(const std::string& done) {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw_errno("print the result", done);
}

int run_build(const BuildRequest& request, const Profile& profile, const std::string& format,
              const Interruption& interruption, Progress& progress) {
  const BuildResult result = build(request, interruption, progress);
  write_companion(profile, request.output.parent_path());
  print(result, format);
  finish_printing("the binary and build-info.json are in place; check where stdout goes");
  return exit_code::ok;
}

int run_fetch(const FetchRequest& request, const fs::path& into, const std::string& format,
              const Interruption& interruption, Progress& progress) {
  print(export_paths(request, into, interruption, progress), into, format);
  finish_printing("the directory of --into is complete; check where stdout goes");
  return exit_code::ok;
}

/// Fetched code may have written it: nothing of it is for the terminal to obey.
void print_line_of_tool(const std::string& line) {
  std::string text;
  for (const char c : line) text += c == '\t' ? std::string(8, ' ') : std::string(1, c);
  std::fprintf(stderr, "%s\n", visible_text(utf8_text(text)).c_str());
}

/// Runs a command; its failure is the last line on stderr.
template <class Command>
int run(const ReportOptions& report, Command command) {
  const Interruption interruption;
  std::signal(SIGPIPE, SIG_IGN);  // a server that hangs up is an error of write(2), not our end
  Progress progress = Progress::for_stderr();
  try {
    return command(interruption, progress);
  } catch (const Interrupted&) {
    progress.clear();
    report_failure(report, "ended by " + interruption.take_name() + "; nothing was published");
  } catch (const PhaseError& error) {
    for (const std::string& line : error.tool_lines()) print_line_of_tool(line);
    report_failure(report, error.what());
  } catch (const std::exception& error) {
    progress.clear();
    report_failure(report, error.what());
  }
  return exit_code::failed;
}

int fetch_command(const FetchOptions& options) {
  const FetchRequest request = read_source_options(options.source);
  fs::path into = fs::absolute(options.into).lexically_normal();
  if (!into.has_filename()) into = into.parent_path();
  start_report(options.report);
  return run(options.report, [&](const Interruption& interruption, Progress& progress) {
    return run_fetch(request, into, options.format, interruption, progress);
  });
}

int build_command(const CLI::App& command, const BuildOptions& options, const std::string& format) {
  const BuildRequest request = read_build_options(command, options);
  start_report(options.report);
  return run(options.report, [&](const Interruption& interruption, Progress& progress) {
    return run_build(request, chosen_profile(options), format, interruption, progress);
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (is_sandbox_step(argc, argv)) return run_sandbox_step(argc, argv);
  // Where the compiler runs as this user, it could read passwords in /proc/PID/environ and in memory
  // (proc(5)).
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  CommandLine line("builder", "Fetches, compiles and publishes the KMS plugin", "BUILDER_");
  BuildOptions build_options;
  std::string build_format = "text";
  FetchOptions fetch_options;
  add_build(line, build_options, build_format);
  add_fetch(line, fetch_options);
  line.default_command("build");
  line.on_usage_error([&](const std::string& text) {
    const bool fetches = line.app().got_subcommand("fetch");
    ReportOptions report = fetches ? fetch_options.report : build_options.report;
    // As far as it was read: what is wrong may stand before it is taken.
    const CLI::Option* given =
        line.app().get_subcommand(fetches ? "fetch" : "build")->get_option("--termination-log");
    if (given->count() > 0) report.termination_log = given->results().back();
    leave_message(report, visible_text(utf8_text(text)));
  });
  if (const auto code = line.parse(argc, argv)) return *code;
  try {
    if (line.app().got_subcommand("fetch")) return fetch_command(fetch_options);
    return build_command(*line.app().get_subcommand("build"), build_options, build_format);
  } catch (const std::exception& error) {
    return line.usage_error(error.what());
  }
}
