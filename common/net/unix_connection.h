// Connects to a Unix socket, and identifies the process at the other end.
#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/fd.h"
#include "common/net/endpoint.h"

namespace kms {

/// A connection (non-blocking, CLOEXEC). Empty on failure, with errno set: ENOENT if there is no socket,
/// ECONNREFUSED if nobody listens, EAGAIN if the queue is full, EACCES if it belongs to another user,
/// EPROTOTYPE if it is live but not a stream socket.
[[nodiscard]] UniqueFd connect_to(const Endpoint& endpoint);

/// The cause that connect_to() left in errno as `error`. connect(2) says of a plain file that nobody listens
/// there; this says that it is not a socket.
[[nodiscard]] std::string connect_error_text(const Endpoint& endpoint, int error);

/// The process that listens at `endpoint`, as describe_peer() names it. Empty if nobody listens.
[[nodiscard]] std::optional<std::string> live_holder(const Endpoint& endpoint);

/// The process at the other end of a connected socket, with its user and group (SO_PEERCRED, unix(7)): the
/// one that connected, or that called listen(2). Its pid is 0 in another pid namespace. Empty if
/// `connected_fd` is no socket.
[[nodiscard]] std::optional<ucred> peer_of(int connected_fd);

/// The process at the other end of a connected socket: "pid 42 (mock-kms-provider)".
[[nodiscard]] std::string describe_peer(int connected_fd);

/// A UnixListener binds its socket as draft_prefix and its pid in the socket's directory, and renames it. The
/// kernel lists the first name.
inline constexpr auto draft_prefix = ".kms-";

/// The sockets of this network namespace on which a process of `program` answers this user, of those whose
/// path or abstract name contains `part`, sorted.
[[nodiscard]] std::vector<Endpoint> listening_sockets(std::string_view program, std::string_view part);

/// "; one answers on unix:///a.sock, unix:///b.sock" for the next step of an error: the sockets that answer
/// beside the control socket of a mock-kms-provider. "" if none does. Other plugins cannot be told from other
/// servers.
[[nodiscard]] std::string answering_providers();

/// True if the process at the other end runs as this process' user or as root.
[[nodiscard]] bool peer_is_self_or_root(int connected_fd);

}  // namespace kms
