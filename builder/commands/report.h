// Reports what a command did and why it failed: on stdout, stderr, in a log file, and as the container's
// termination message, which the kubelet keeps after the container is gone.
//
// Used on the main thread.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "builder/run/interruption.h"
#include "builder/run/progress.h"
#include "common/cli/command_line.h"

namespace kms::builder {

struct ReportOptions {
  std::string log_file;
  std::string termination_log = "/dev/termination-log";
};

void add_report_options(CLI::App& command, ReportOptions& options);

/// Runs a command's work and reports its failure. Returns the exit code. Throws Error if the log file cannot
/// be written.
[[nodiscard]] int run_reported(const ReportOptions& options,
                               const std::function<void(const Interruption&, Progress&)>& work);

/// Writes usage errors to the termination message too.
void report_usage_errors(CommandLine& line);

/// Runs `read`, which reads options, and turns its errors into usage errors.
template <class Read>
auto or_usage_error(Read read) {
  try {
    return read();
  } catch (const Error& error) {
    throw error.with(ErrorCode::invalid_input);
  } catch (const std::filesystem::filesystem_error& error) {
    throw cannot_use(error).with(ErrorCode::invalid_input);
  }
}

/// Flushes stdout, which scripts read. Throws Error with `next_step` if it cannot be written.
void finish_output(const std::string& next_step);

}  // namespace kms::builder
