// Turn is what only one of several processes of an instance has at a time: it alone is commanded, follows the
// configuration, plays scenarios, rotates and shows metrics, while another one may wait or finish its calls.
//
// Made, begun and ended by main's thread. Borrows all that it is about.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "provider/config/follower.h"
#include "provider/config/scenario.h"
#include "provider/control/control_server.h"
#include "provider/serve_setup.h"

namespace kms::provider {

class Turn {
 public:
  /// What commands, the configuration and scenarios change.
  struct Commanded {
    KeyRing& keys;
    KeyVersions& versions;
    Faults& faults;
    Journal& journal;
  };

  /// `stop` is readable once the process is told to end.
  Turn(const ServeSetup& setup, const std::string& node, Commanded commanded, const process::SignalFd& stop);

  /// Waits for the process before this one to end its turn, and takes up what it left. With a socket that was
  /// `handed_down` it takes the control socket's path over from that process; without, a live one is an
  /// error. Throws kms::Error.
  void begin(bool handed_down);

  /// For SIGHUP.
  void read_config_again();

  /// Whoever takes this process' place rotates from now on. Waits for commands under way, a second at most.
  void end();

 private:
  const ServeSetup& setup_;
  const Commanded commanded_;
  const process::SignalFd& stop_;
  ScenarioRunner runner_;
  std::optional<ConfigFollower> config_;
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<MetricsServer> metrics_;
};

}  // namespace kms::provider
