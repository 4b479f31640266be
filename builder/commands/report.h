// Where the builder leaves its words besides stderr: a log file, and the container's termination message.
//
// Used by main, on one thread.
#pragma once

#include <string>

#include "common/cli/command_line.h"

namespace kms::builder {

struct ReportOptions {
  std::string log_file;
  std::string termination_log = "/dev/termination-log";
};

void add_report_options(CLI::App& command, ReportOptions& options);

/// Copies the log from now on. Throws Error where the file cannot be written.
void start_report(const ReportOptions& options);

/// Puts a line that was printed otherwise where a termination message is read.
void leave_message(const ReportOptions& options, const std::string& line);

/// The last line of a command that failed: on stderr, in the log file and as the termination message, where
/// the kubelet finds it after the container is gone.
void report_failure(const ReportOptions& options, const std::string& line);

}  // namespace kms::builder
