// The `serve` command: from its checked options to a process that has drained.
//
// Called by main, on the main thread, before any other thread exists.
#pragma once

#include <chrono>

#include "provider/serve_setup.h"

namespace kms::provider {

/// Leaves no core dump and lets no other user's process read the memory (prctl(2), core(5)). Throws
/// kms::Error.
void forbid_core_dumps();

/// Serves until SIGTERM or SIGINT and drains; a second one ends the process at once with code 1. SIGHUP has
/// the configuration read again. Returns the exit code. `begun` is when the process began, for the log.
/// Throws kms::Error.
[[nodiscard]] int serve(ServeSetup setup, std::chrono::steady_clock::time_point begun);

}  // namespace kms::provider
