// The supervisor's commands. Each function adds one to the command line: its options, its help and its
// action. The file of the same name holds them together.
//
// `control` is the value of --control-socket. main owns it; it is read when the command runs.
#pragma once

#include <string>

#include "common/cli/command_line.h"
#include "common/net/endpoint.h"

namespace kms::supervisor {

[[nodiscard]] Command run_command(CommandLine& line, const std::string& control);
[[nodiscard]] Command status_command(CommandLine& line, const std::string& control);
[[nodiscard]] Command events_command(CommandLine& line, const std::string& control);   // history.cc
[[nodiscard]] Command logs_command(CommandLine& line, const std::string& control);     // history.cc
[[nodiscard]] Command metrics_command(CommandLine& line, const std::string& control);  // history.cc
[[nodiscard]] Command report_command(CommandLine& line, const std::string& control);
[[nodiscard]] Command restart_command(CommandLine& line, const std::string& control);
[[nodiscard]] Command stop_command(CommandLine& line, const std::string& control);   // restart.cc
[[nodiscard]] Command start_command(CommandLine& line, const std::string& control);  // restart.cc
[[nodiscard]] Command check_command(CommandLine& line);

/// Writes the usage errors of `supervisor run` to its termination message too.
void report_usage_errors(CommandLine& line);  // run.cc

// Shared by several commands, in options.cc.

/// Adds --control-socket to all commands.
void add_control_socket(CommandLine& line, std::string& control);

/// Adds --instance. 0 means all instances.
void add_instance(CLI::App& command, unsigned& instance);

/// Reads the value of --control-socket. Throws Error.
[[nodiscard]] Endpoint control_endpoint(const std::string& control);

}  // namespace kms::supervisor
