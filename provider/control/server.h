// ControlServer serves the provider's control service on its own socket.
//
// Made and destroyed by main's thread. It uses gRPC's callback API, as the supervisor's control server does:
// the control services need no thread of their own, while the KMS service measures best on one queue
// (kms/calls.h). gRPC is set up at the first connection: until then only one thread waits. Connections of
// other users are refused (root's are accepted). It never touches the KMS socket.
#pragma once

#include <memory>

#include "common/net/unix_listener.h"
#include "provider/config/follower.h"
#include "provider/config/scenario.h"
#include "provider/core/provider_state.h"

namespace kms::provider {

class ControlServer {
 public:
  /// The rest outlives the server. `config` is nullptr if there is no --config.
  ControlServer(UnixListener listener, ProviderState& state, ScenarioRunner& scenarios,
                const ConfigFollower* config);
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;
  /// Ends the calls in progress within a second.
  ~ControlServer();

 private:
  class Service;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kms::provider
