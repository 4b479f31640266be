// What is asked of a supervisor: which plugin, on which socket, by which policy. Values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/net/endpoint.h"
#include "common/net/metrics_server.h"
#include "common/net/unix_listener.h"
#include "common/process/spawn.h"
#include "supervisor/lifecycle/handover.h"
#include "supervisor/lifecycle/lifecycle.h"

namespace kms::supervisor {

enum class OutputFormat { text, json };

/// One plugin's.
struct InstanceConfig {
  Endpoint socket;      ///< where the plugin serves
  SocketAccess access;  ///< of that socket where the supervisor binds it
  HandoverMode handover = HandoverMode::automatic;
  process::Launch plugin;     ///< its command, environment, user and limits
  std::string control;        ///< where the plugin, if it is mock-kms-provider, takes commands; "": nowhere
  std::string build_info;     ///< path of build-info.json; empty: beside the program
  bool watch_binary = false;  ///< restart as planned when another binary has been published
  OutputFormat output = OutputFormat::text;
  unsigned deep_probe_every = 0;                         ///< n: each n-th probe is a deep one; 0: none
  Duration slow_after = std::chrono::milliseconds(500);  ///< an answer that takes longer is a slow one
  Policy policy;
};

/// A whole supervisor's.
struct SupervisorConfig {
  std::vector<InstanceConfig> plugins;  ///< an instance for each
  std::string termination_log;  ///< where the kubelet reads a container's last words; used if it exists
  std::optional<MetricsAddress> metrics;  ///< where Prometheus asks; empty: nowhere
};

/// `text` with the instance's number in place of each "{n}".
[[nodiscard]] std::string numbered(std::string text, unsigned number);

/// The supervisor's own environment without what a service manager handed down to it, numbered.
[[nodiscard]] std::vector<std::string> plugin_environment(unsigned number);

/// The URI of the control socket that mock-kms-provider makes when it is started so: its --control-socket, by
/// `command` or `environment`, else the one beside `socket`; "" where there is no room for its name.
[[nodiscard]] std::string control_of(const std::vector<std::string>& command,
                                     const std::vector<std::string>& environment, const Endpoint& socket);

/// Why `command` seems to serve elsewhere than on `socket`, "" where it does not: it names another endpoint
/// by
/// --listen-addr, or its environment does.
[[nodiscard]] std::string other_endpoint(const std::vector<std::string>& command,
                                         const std::vector<std::string>& environment, const Endpoint& socket);

}  // namespace kms::supervisor
