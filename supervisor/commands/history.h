// `supervisor events`, `supervisor logs` and `supervisor metrics`: print what is kept, and go on with the
// first two. Blocking, on main's thread.
#pragma once

#include <string>

#include "common/net/endpoint.h"

namespace kms::supervisor {

struct HistoryRequest {
  std::string output = "text";  ///< text or json
  bool follow = false;          ///< go on until a signal ends the program
  unsigned instance = 0;        ///< from 1; 0: all
};

/// Print on stdout, an event or a line each, JSON as one object a line; failures on stderr. Return
/// exit_code::ok, unreachable where there is no supervisor (any more), or usage where it has no such
/// instance.
[[nodiscard]] int run_events(const Endpoint& control, const HistoryRequest& request);
[[nodiscard]] int run_logs(const Endpoint& control, const HistoryRequest& request);

/// Prints what a scrape of `run --metrics-addr` would be answered; fails as the others do.
[[nodiscard]] int run_metrics(const Endpoint& control);

}  // namespace kms::supervisor
