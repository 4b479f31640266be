// The options of `supervisor run`, and the configuration that they describe.
#pragma once

#include <string>
#include <vector>

#include "supervisor/instance/config.h"

namespace kms::supervisor {

/// The values of the options, before they are checked.
struct RunOptions {
  std::string socket = "unix:///var/run/kmsplugin/kms.sock";
  std::string socket_mode = "0600";
  std::string socket_owner;
  HandoverMode handover = HandoverMode::automatic;
  unsigned instances = 1;
  std::string build_info;
  bool watch_binary = false;
  std::string metrics_addr;  ///< HOST:PORT; empty: metrics are not served
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

/// The configuration, or the option that is wrong.
[[nodiscard]] Outcome<SupervisorConfig> supervisor_config(const RunOptions& options);

}  // namespace kms::supervisor
