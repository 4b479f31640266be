// What `serve` is told, as it stands on the command line and checked.
//
// Used by main's thread before anything is served. Reads files and environment; opens no socket.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/net/endpoint.h"
#include "common/net/metrics_server.h"
#include "common/net/unix_listener.h"
#include "common/text/time.h"
#include "proto/provider_config.pb.h"
#include "provider/keys/key_ring.h"

namespace kms::provider {

/// As they stand on the command line, unchecked.
struct ServeOptions {
  std::string listen_addr = "unix:///tmp/kms.socket";
  Duration timeout = std::chrono::seconds(5);
  std::string seed_file;  ///< empty: the published test seed
  std::string instance = "default";
  KeyVersion key_version = 1;
  std::string socket_mode = "0600";
  std::string socket_owner;  ///< empty: the process' own
  Duration drain_grace = std::chrono::seconds(5);
  std::string state_dir;            ///< empty: the current version is not kept
  std::string control_socket;       ///< empty: beside the KMS socket
  std::vector<std::string> faults;  ///< presets, violations or JSON
  std::uint64_t random_seed = 1;    ///< of the chance in faults; not of keys
  std::string config;               ///< file that is followed; empty: none
  std::string metrics_addr;         ///< HOST:PORT; empty: no metrics
  std::string config_file_path;     ///< the upstream mock's SoftHSM file, which nothing here needs
};

/// What `serve` needs, checked.
struct ServeSetup {
  Endpoint endpoint;
  SocketAccess access;
  SecretBytes seed;
  ServeOptions options;
  std::vector<mock_kms::v1::Fault> faults;  ///< complete ones
  mock_kms::v1::ProviderConfig config;      ///< what options.config held at the check
  std::optional<MetricsAddress> metrics;
};

/// Checks the options and reads the seed; a Error says what is wrong with which.
[[nodiscard]] Outcome<ServeSetup> check(const ServeOptions& options);

}  // namespace kms::provider
