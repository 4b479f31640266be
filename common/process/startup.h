// Puts a program into a known state, whatever its parent left behind, and checks what it cannot change.
#pragma once

namespace kms::process {

/// Runs before all other initialisation of a program that links it, since gRPC opens an eventfd before main.
/// It is safe to call again.
///
/// It opens /dev/null in place of a closed descriptor 0, 1 or 2: otherwise the next socket would take the
/// number and receive the lines for stderr. Reading a closed stdin and writing to a closed stdout still
/// fail. The pipes of the standard streams become blocking. It unblocks all signals and restores the default
/// action of ignored ones: an ignored SIGCHLD hides how children end. SIGHUP, SIGINT and SIGQUIT stay
/// ignored, for nohup(1) and background jobs. SIGXFSZ is ignored, so that a full log file is an error of
/// write(2). It removes the owner's own bits from the umask. It raises a very small soft limit of open files,
/// as far as the hard limit permits, and a small limit of the stack. It resets the timer slack, which would
/// delay every deadline. Where the address space is limited, all threads share one heap.
void start_in_known_state();

/// Throws Error unless the limits allow as many threads and open files as a gRPC server needs. gRPC itself
/// waits forever for a thread that cannot start, and aborts without a descriptor. Call it before gRPC is
/// used.
void require_room();

}  // namespace kms::process
