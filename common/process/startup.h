// Puts a program into a known state, whatever its parent left behind.
#pragma once

namespace kms::process {

/// Runs before all other initialisation of a program that links it, since gRPC opens an eventfd before main.
/// It is safe to call again.
///
/// It opens /dev/null in place of a closed descriptor 0, 1 or 2: otherwise the next socket would take the
/// number and receive the lines for stderr. It unblocks all signals and restores the default action of
/// ignored ones: an ignored SIGCHLD hides how children end. SIGHUP, SIGINT and SIGQUIT stay ignored, for
/// nohup(1) and background jobs. It removes the owner's own bits from the umask. It raises a very small soft
/// limit of open files, as far as the hard limit permits.
void start_in_known_state();

}  // namespace kms::process
