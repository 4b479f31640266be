// The configuration of a supervisor and of its instances. Values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/log/log.h"
#include "common/net/endpoint.h"
#include "common/net/http_server.h"
#include "common/net/unix_listener.h"
#include "common/process/spawn.h"
#include "supervisor/lifecycle/handover.h"
#include "supervisor/lifecycle/lifecycle.h"

namespace kms::supervisor {

struct InstanceConfig {
  Endpoint socket;      ///< where the plugin serves
  SocketAccess access;  ///< of that socket, if the supervisor binds it
  HandoverMode handover = HandoverMode::automatic;
  process::Launch plugin;                  ///< its command, environment, user and limits
  std::string control;                     ///< mock-kms-provider's control socket; "" if it has none
  std::string build_info;                  ///< path of build-info.json; "": beside the program
  bool watch_binary = false;               ///< restart as planned when another binary is published
  log::Format output = log::Format::text;  ///< how the plugin's lines are passed on
  unsigned deep_probe_every = 0;           ///< n: each n-th probe is a deep one; 0: none
  Duration slow_after = std::chrono::milliseconds(500);  ///< an answer that takes longer is slow
  Policy policy;
};

struct SupervisorConfig {
  std::vector<InstanceConfig> plugins;  ///< an instance for each
  std::string termination_log;          ///< file that the kubelet reads after the end; used if it exists
  std::optional<TcpAddress> metrics;    ///< where Prometheus scrapes; empty: nowhere
};

/// `text` with the instance's number in place of each "{n}".
[[nodiscard]] std::string numbered(std::string text, unsigned number);

/// The supervisor's environment, numbered, without the variables that a service manager set for it. HOME,
/// USER and LOGNAME are those of `identity`, if there is one. MOCK_KMS_LISTEN_ADDR is `socket` unless it is
/// set.
[[nodiscard]] std::vector<std::string> plugin_environment(unsigned number, const Endpoint& socket,
                                                          const std::optional<process::Identity>& identity);

/// The URI of mock-kms-provider's control socket: its --control-socket, from `command` or `environment`, else
/// the one beside its --listen-addr, else beside `socket`. "" if there is no room for its name.
[[nodiscard]] std::string control_of(const std::vector<std::string>& command,
                                     const std::vector<std::string>& environment, const Endpoint& socket);

/// A warning if `command` or `environment` names another endpoint than `socket` by --listen-addr; else "".
[[nodiscard]] std::string other_endpoint(const std::vector<std::string>& command,
                                         const std::vector<std::string>& environment, const Endpoint& socket);

}  // namespace kms::supervisor
