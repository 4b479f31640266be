// UnixListener owns a listening Unix socket: claims its address, gives it its owner and mode, takes it away
// at the end.
//
// Whoever serves on an Endpoint makes one, on any one thread. It takes a live server's place (contract
// rule 8) only where it is told to, and never exists under its path before it listens with its final mode and
// owner (rule 9). It does not accept.
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
  std::optional<uid_t> user;   ///< empty: the process' own
  std::optional<gid_t> group;  ///< empty: the process' own
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
  /// failing). A path left by a dead process is replaced in one step. A live socket, a path that is something
  /// else or a missing directory is a Error; a live one's names the process that holds it.
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
  dev_t device_ = 0;  ///< with inode_: which file is ours to remove
  ino_t inode_ = 0;
};

/// Removes the path of a socket that no process listens on any more; leaves alone what is live, absent,
/// abstract or no socket.
void remove_stale_socket(const Endpoint& endpoint);

}  // namespace kms
