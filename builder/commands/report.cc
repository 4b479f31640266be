#include "builder/commands/report.h"

#include <csignal>
#include <cstdio>
#include <filesystem>

#include "common/cli/exit_code.h"
#include "common/log/log.h"
#include "common/log/termination_message.h"
#include "common/text/escape.h"
#include "common/text/logins.h"

namespace kms::builder {
namespace {

constexpr auto termination_log_option = "--termination-log";

/// Prints a failed command's last line.
void report_failure(const ReportOptions& options, const std::string& cause) {
  const std::string line =
      "builder: " + without_logins(visible_text(utf8_text(cause)));  // it may quote a server
  std::fprintf(stderr, "%s\n", line.c_str());
  log::copy_line(line);
  write_termination_message(options.termination_log, line + "\n");
}

/// Fetched code may have written the line: the terminal must not obey it.
void print_tool_line(const std::string& line) {
  std::string text;
  for (const char c : line) text += c == '\t' ? std::string(8, ' ') : std::string(1, c);
  std::fprintf(stderr, "%s\n", visible_text(utf8_text(text)).c_str());
}

}  // namespace

void add_report_options(CLI::App& command, ReportOptions& options) {
  command.add_option("--log-file", options.log_file,
                     "File for the whole log, at any --log-level, with the compiler's output");
  command
      .add_option(termination_log_option, options.termination_log,
                  "Existing file for the cause of a failure, in one line")
      ->capture_default_str();
}

int run_reported(const ReportOptions& options,
                 const std::function<void(const Interruption&, Progress&)>& work) {
  if (!options.log_file.empty()) {
    or_usage_error([&] { log::copy_to(options.log_file); });
  }
  const Interruption interruption;
  std::signal(SIGPIPE, SIG_IGN);  // a server that hangs up is an error of write(2)
  Progress progress = Progress::for_stderr();
  try {
    work(interruption, progress);
    return exit_code::ok;
  } catch (const Interrupted&) {
    progress.clear();
    report_failure(options, "ended by " + interruption.take_name() + "; nothing was published");
  } catch (const CompileError& error) {
    progress.clear();
    for (const std::string& line : error.lines()) print_tool_line(line);
    report_failure(options, error.what());
  } catch (const std::filesystem::filesystem_error& error) {
    progress.clear();
    report_failure(options, cannot_use(error).line());
  } catch (const std::exception& error) {
    progress.clear();
    report_failure(options, error.what());
  }
  return exit_code::failed;
}

void report_usage_errors(CommandLine& line) {
  line.on_usage_error([&line](const std::string& text) {
    ReportOptions options;
    for (const CLI::App* command : line.app().get_subcommands()) {
      // The parser may have failed before it stored the option.
      const CLI::Option* given = command->get_option(termination_log_option);
      if (given->count() > 0) options.termination_log = given->results().back();
    }
    write_termination_message(options.termination_log, text + "\n");
  });
}

void finish_output(const std::string& next_step) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  std::clearerr(stdout);  // reported here; CommandLine::run would report it again
  throw_errno("print the result", next_step);
}

}  // namespace kms::builder
