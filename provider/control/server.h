// ControlServer answers the control service's calls on its own socket: a thin adapter between gRPC and what
// is controlled.
//
// Made by main's thread, and ended by it. gRPC is set up at the first connection only, so that a provider
// which nobody controls pays a thread that waits and nothing else. Processes of other users are refused
// (root's are welcome). It never touches the KMS socket.
#pragma once

#include <memory>

#include "common/net/unix_listener.h"
#include "common/process/signals.h"
#include "provider/config/follower.h"
#include "provider/config/scenario.h"

namespace kms::provider {

/// What can be controlled; all of it outlives the server.
struct Controlled {
  KeyVersions& versions;
  KeyRing& keys;
  Faults& faults;
  Journal& journal;
  ScenarioRunner& runner;
  const ConfigFollower* config;   ///< nullptr where there is no --config
  const process::SignalFd& stop;  ///< readable once the process is told to end
};

class ControlServer {
 public:
  ControlServer(UnixListener listener, Controlled controlled);
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;
  /// Ends what is still called within a second.
  ~ControlServer();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kms::provider
