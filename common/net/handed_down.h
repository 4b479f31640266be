// Hands sockets down from the supervisor to its plugin, by the LISTEN_FDS convention of sd_listen_fds(3).
//
//   kms       the listening socket of the KMS endpoint
//   probe     a connected socket on which only the supervisor makes calls: an answer comes from this process
//   activate  a pipe: the plugin accepts on `kms` once a byte has arrived
//
// Both sides are here: take_handed_down() is the plugin's, called once in main before any thread starts;
// handed_down_environment() is the supervisor's. A plugin that knows only LISTEN_FDS finds the listening
// socket first.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/error.h"
#include "common/io/fd.h"

namespace kms {

struct HandedDown {
  UniqueFd listening;
  UniqueFd probe;     ///< empty if none was handed down
  UniqueFd activate;  ///< empty: the plugin accepts from the start
};

/// The variable that names the process that the descriptors are for.
inline constexpr auto handed_down_pid_variable = "LISTEN_PID";

/// The first descriptor that is handed down (SD_LISTEN_FDS_START).
inline constexpr int first_handed_down_fd = 3;

/// The descriptors that the environment announces; empty if it announces none, or those of another process
/// (LISTEN_PID). Removes the variables, so that no child takes them for its own. An Error if a descriptor is
/// missing or does not listen.
[[nodiscard]] Outcome<std::optional<HandedDown>> take_handed_down();

/// "LISTEN_FDS=3" and "LISTEN_FDNAMES=kms:probe:activate". The plugin's process adds handed_down_pid_variable
/// itself.
[[nodiscard]] std::vector<std::string> handed_down_environment();

}  // namespace kms
