// ProviderState owns what a provider has: keys, faults and the journal. The KMS server, the control server,
// the configuration and scenarios share it by one reference.
//
// Made by main's thread before any other exists; it outlives everything that refers to it. Each member is
// safe from any thread.
#pragma once

#include <cstdint>
#include <string>

#include "common/process/signals.h"
#include "provider/faults/faults.h"
#include "provider/journal/journal.h"
#include "provider/keys/key_ring.h"
#include "provider/keys/key_versions.h"

namespace kms::provider {

struct ProviderState {
  struct Options {
    SecretBytes seed;
    std::string instance;
    KeyIdFormat key_id_format;
    KeyVersion key_version;
    std::string state_dir;      ///< empty: the current version is not kept
    std::uint64_t random_seed;  ///< of the chance in faults, not of keys
  };

  /// Loads the stored version; writes a line of log and journal at each rotation. `stop_signals` is readable
  /// once the process is asked to stop. Throws Error.
  ProviderState(Options options, const process::SignalFd& stop_signals);
  ProviderState(const ProviderState&) = delete;
  ProviderState& operator=(const ProviderState&) = delete;

  const process::SignalFd& stop;
  const std::string node;  ///< NODE_NAME; faults and scenarios may concern one node
  Journal journal;
  KeyRing keys;
  KeyVersions versions;
  Faults faults;
};

/// All metrics in Prometheus' text format. Key ids appear only as SHA-256.
[[nodiscard]] std::string metrics_text(const ProviderState& state);

}  // namespace kms::provider
