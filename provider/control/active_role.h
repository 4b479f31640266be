// ActiveRole is held by one process of an instance at a time, while another may wait or finish its calls.
// Only the active process serves the control socket and metrics, follows the configuration, runs scenarios
// and rotates.
//
// Made, acquired and released by main's thread. Borrows the state.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/net/http_server.h"
#include "provider/config/follower.h"
#include "provider/config/scenario.h"
#include "provider/control/server.h"
#include "provider/core/provider_state.h"

namespace kms::provider {

class ActiveRole {
 public:
  struct Options {
    std::string control_socket;         ///< empty: beside `kms_socket`
    std::string kms_socket;             ///< an endpoint
    std::string config;                 ///< file to follow; empty: none
    std::optional<TcpAddress> metrics;  ///< empty: no metrics
    bool metrics_may_fail = false;      ///< serve without them if the port is in use
  };

  ActiveRole(ProviderState& state, Options options);

  /// Waits for the previous process to release the role, and loads what it stored. With a `handed_down`
  /// socket it takes the control socket's path over from that process; otherwise a live one is an error.
  /// Throws Error.
  void acquire(bool handed_down);

  /// For SIGHUP.
  void read_config_again();

  /// The next process rotates from now on. Waits for commands in progress, a second at most.
  void release();

 private:
  ProviderState& state_;
  const Options options_;
  ScenarioRunner scenarios_;
  std::optional<ConfigFollower> config_;
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<HttpServer> metrics_;
};

}  // namespace kms::provider
