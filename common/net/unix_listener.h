// UnixListener owns a listening Unix socket: it claims the address, sets owner and mode, and removes the path
// at the end.
//
// One thread at a time. It does not accept. It replaces a live server's socket (rule 8 of the KMS v2
// contract) only on request. The socket appears under its path only once it listens with its final mode and
// owner (rule 9).
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "common/error.h"
#include "common/io/fd.h"
#include "common/net/endpoint.h"

namespace kms {

/// The users who may open the socket. The kernel enforces it for a path. An abstract socket is open to
/// everyone in the network namespace, so its server calls may_open() for each connection.
struct SocketAccess {
  mode_t mode = 0600;
  std::optional<uid_t> user;   ///< empty: the process's user
  std::optional<gid_t> group;  ///< empty: the process's group
};

/// Reads an octal mode, "0600" or "660", at most 0777.
[[nodiscard]] Outcome<mode_t> parse_socket_mode(const std::string& text);

/// Reads "USER", "USER:GROUP" or ":GROUP" (names or numbers) into `access`.
[[nodiscard]] Outcome<> parse_socket_owner(const std::string& text, SocketAccess& access);

/// True if the process at the other end of a connected socket could open a file of this owner and mode for
/// reading and writing; root can. Source: SO_PEERCRED and SO_PEERGROUPS, unix(7) and socket(7).
[[nodiscard]] bool may_open(const SocketAccess& access, int connected_fd);

/// The reaction of a claim to a live server at the address.
enum class OnLiveSocket {
  fail,
  replace,  ///< takes the path over in one step; the holder of an abstract name still makes the claim fail
};

class UnixListener {
 public:
  /// Binds and listens (non-blocking, CLOEXEC, backlog 4096 so that clients of a slow server wait instead of
  /// failing). Replaces a path left by a dead process in one step. Returns an Error if the socket is live (it
  /// names the process), if the path is not a socket, or if the directory is missing.
  [[nodiscard]] static Outcome<UnixListener> claim(const Endpoint& endpoint, const SocketAccess& access = {},
                                                   OnLiveSocket on_live_socket = OnLiveSocket::fail);

  UnixListener(UnixListener&&) noexcept = default;
  UnixListener& operator=(UnixListener&&) = delete;
  ~UnixListener();

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }

  /// True if the path still leads here, and has not been removed or replaced. Always for an abstract socket.
  [[nodiscard]] bool in_place() const;

 private:
  UnixListener(Endpoint endpoint, UniqueFd fd) : endpoint_(std::move(endpoint)), fd_(std::move(fd)) {}

  Endpoint endpoint_;
  UniqueFd fd_;
  dev_t device_ = 0;  ///< with inode_: the file to remove
  ino_t inode_ = 0;
};

/// Removes the path of a socket on which no process listens any more. Does nothing in all other cases.
void remove_stale_socket(const Endpoint& endpoint);

}  // namespace kms
