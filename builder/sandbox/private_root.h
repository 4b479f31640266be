// enter_private_root() gives the compiler a root with nothing but its own files, /proc and harmless devices.
//
// Called in the sandbox step only: a process with one thread and a mount namespace of its own.
#pragma once

#include "builder/sandbox/step.h"

namespace kms::builder {

/// Mounts a file system in memory as root. The sandbox' readable paths appear in it read-only, the writable
/// ones writable, beside small /tmp and /dev/shm. Needs CAP_SYS_ADMIN in the namespace and Linux 5.12. Throws
/// Error "cannot mount ...".
void enter_private_root(const Sandbox& sandbox);

}  // namespace kms::builder
