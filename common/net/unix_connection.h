// Connecting to a Unix socket, and who is at its other end. Functions without state, safe from any thread.
#pragma once

#include <optional>
#include <string>

#include "common/io/fd.h"
#include "common/net/endpoint.h"

namespace kms {

/// A connection (non-blocking, CLOEXEC); empty, with errno set, where there is none to be had: ENOENT for no
/// socket, ECONNREFUSED for one that nobody listens on, EAGAIN for one whose queue is full, EACCES for one of
/// others, EPROTOTYPE for a live one that is no stream.
[[nodiscard]] UniqueFd connect_to(const Endpoint& endpoint);

/// The same with a name of its own at this end, chosen by the kernel (unix(7), "Autobind feature"), by which
/// the other end can tell its connections apart.
[[nodiscard]] UniqueFd connect_by_name(const Endpoint& endpoint);

/// The process that listens at `endpoint` now, as describe_peer() names it; nothing where no one does (a path
/// that a dead process left, or none).
[[nodiscard]] std::optional<std::string> live_holder(const Endpoint& endpoint);

/// "pid 42 (mock-kms-provider)" of the process that listens at the other end of a connected socket.
[[nodiscard]] std::string describe_peer(int connected_fd);

/// True if the process at the other end runs as this process' user or as root (SO_PEERCRED, unix(7)).
[[nodiscard]] bool peer_is_self_or_root(int connected_fd);

}  // namespace kms
