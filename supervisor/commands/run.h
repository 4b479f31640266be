// `supervisor run`: its options, and the way from them to a running Supervisor.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/cli/command_line.h"
#include "supervisor/instance/config.h"

namespace kms::supervisor {

/// What the command line says, before it is checked.
struct RunOptions {
  std::string socket = "unix:///var/run/kmsplugin/kms.sock";
  std::string socket_mode = "0600";
  std::string socket_owner;
  HandoverMode handover = HandoverMode::automatic;
  unsigned instances = 1;
  std::string build_info;
  bool watch_binary = false;
  std::string metrics_addr;  ///< HOST:PORT; empty: none are served
  std::string termination_log = "/dev/termination-log";
  log::Format child_output = log::Format::text;
  std::string child_user;
  std::uint64_t child_memory = 0;   ///< bytes; 0: no limit
  std::uint32_t child_threads = 0;  ///< 0: no limit
  unsigned deep_probe_every = 0;
  Duration slow_after = std::chrono::milliseconds(500);
  std::vector<std::string> command;
  Policy policy;
};

/// Adds the command to `line`. `options` outlives it.
CLI::App& add_run(CommandLine& line, RunOptions& options);

/// What the options ask for, or what is wrong with them.
[[nodiscard]] Outcome<SupervisorConfig> plan_of(const RunOptions& options);

/// Supervises until told to stop. Returns an exit code; throws Error.
[[nodiscard]] int run_supervisor(SupervisorConfig plan, const Endpoint& control);

}  // namespace kms::supervisor
