#include "builder/commands/report.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "common/log/log.h"
#include "common/text/escape.h"

namespace kms::builder {

void add_report_options(CLI::App& command, ReportOptions& options) {
  command.add_option("--log-file", options.log_file,
                     "File that gets the whole log, whatever --log-level says, with the compiler's output");
  command
      .add_option("--termination-log", options.termination_log,
                  "File that gets the cause of a failure in one line, where it exists")
      ->capture_default_str();
}

void start_report(const ReportOptions& options) {
  if (!options.log_file.empty()) log::copy_to(options.log_file);
}

void report_failure(const ReportOptions& options, const std::string& line) {
  const std::string text = "builder: " + visible_text(utf8_text(line));  // it may quote a server
  std::fprintf(stderr, "%s\n", text.c_str());
  leave_message(options, text);
}

void leave_message(const ReportOptions& options, const std::string& line) {
  log::copy_line(line);
  std::error_code none;
  if (!std::filesystem::is_regular_file(options.termination_log, none)) return;
  std::ofstream(options.termination_log) << line << "\n";
}

}  // namespace kms::builder
