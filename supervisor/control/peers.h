// ControlPeers knows who is at the other end of each connection to the control socket, and how many there
// are.
//
// Owned by the ControlServer. admit() is called on the loop's thread, name_of() on gRPC's. What the kernel
// says of a connection (SO_PEERCRED) is tied to a call by the name that the client's own end is bound to,
// which gRPC passes on; `supervisor`'s clients let the kernel choose one (unix(7), "Autobind feature").
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>

namespace kms::supervisor {

class ControlPeers {
 public:
  static constexpr std::size_t max_connections = 64;  ///< open at once

  /// Whether an accepted connection may be served: it is its own user's or root's, and not one too many.
  [[nodiscard]] bool admit(int fd);

  /// "root (uid 0, pid 42, supervisor)", or "an unnamed client" where its end has no name.
  [[nodiscard]] std::string name_of(const std::string& grpc_peer) const;

 private:
  struct Connection {
    int fd;
    ino_t inode;  ///< tells whether `fd` still is this connection
    std::string address;
    std::string name;
  };

  void forget_closed();
  void refused(int fd, const std::string& why);

  mutable std::mutex mutex_;
  std::deque<Connection> connections_;
  std::uint64_t refused_ = 0;  ///< since the last line about it
  std::int64_t told_at_ = 0;   ///< steady clock's second of that line
};

}  // namespace kms::supervisor
