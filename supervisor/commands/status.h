// `supervisor status`: asks, waits, follows, prints. Blocking, on main's thread.
#pragma once

#include <optional>
#include <string>

#include "common/net/endpoint.h"
#include "common/text/time.h"

namespace kms::supervisor {

struct StatusRequest {
  std::string output = "text";   ///< text or json
  std::optional<Duration> wait;  ///< how long to wait for a good answer; empty: ask once
  bool ready = false;            ///< ask for readiness instead of health, and print one line
  bool live = false;      ///< ask only whether a supervisor answers that has not given up, and print one line
  unsigned instance = 0;  ///< from 1; 0: all
  bool follow = false;    ///< go on until a signal ends the program
};

/// Prints the status on stdout, failures on stderr. Returns exit_code::ok when healthy (or ready), failed
/// when not, unreachable where there is no supervisor, usage where it has no such instance.
[[nodiscard]] int run_status(const Endpoint& control, const StatusRequest& request);

}  // namespace kms::supervisor
