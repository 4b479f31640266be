// The plugin's socket as `status` shows it: is it there, whose is it, who may open it, and which one is it.
// Reads the file system.
#pragma once

#include <sys/types.h>

#include <optional>

#include "common/net/endpoint.h"
#include "common/text/time.h"
#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

/// Owner and mode as `ls -l` has them; an abstract socket has neither. `present` is whether something listens
/// or lies there, not whether it answers: probes tell that.
[[nodiscard]] mock_kms::v1::Socket describe_socket(const Endpoint& endpoint);

/// Which socket a path leads to.
struct SocketFile {
  dev_t device;
  ino_t inode;

  bool operator==(const SocketFile&) const = default;
};

/// The one that is there now, or that a link there leads to; nothing where there is none, or something else.
[[nodiscard]] std::optional<SocketFile> socket_file_at(const Endpoint& endpoint);

/// The process that called listen(2) for the socket that is at `endpoint` now; 0 where nobody listens, it may
/// not be asked, or is of another pid namespace.
[[nodiscard]] pid_t listener_at(const Endpoint& endpoint);

/// Where the process that called listen(2) is gone or about to be, but its socket still listens, since a
/// process that shares it has not ended yet: waits for the socket's end, for `patience` at most.
void await_dying_listener(const Endpoint& endpoint, Duration patience);

}  // namespace kms::supervisor
