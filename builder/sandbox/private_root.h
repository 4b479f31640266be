// A view of the file system in which nothing is but what a compiler needs.
//
// Called in the sandbox step only, a process with one thread and a mount namespace of its own.
#pragma once

#include "builder/sandbox/sandbox.h"

namespace kms::builder {

/// Makes a file system in memory the root, with the sandbox' readable and writable paths at their places, the
/// former read-only, an own /proc, the harmless devices and small /tmp and /dev/shm. Needs CAP_SYS_ADMIN in
/// the namespace, Linux 5.12. Throws Error "cannot mount ...".
void enter_private_files(const Sandbox& sandbox);

}  // namespace kms::builder
