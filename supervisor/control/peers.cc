#include "supervisor/control/peers.h"

#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <chrono>

#include "common/log/log.h"
#include "common/net/unix_connection.h"

namespace kms::supervisor {
namespace {

ino_t inode_of(int fd) {
  struct stat file {};
  return ::fstat(fd, &file) == 0 && S_ISSOCK(file.st_mode) ? file.st_ino : 0;
}

/// The other end's address as gRPC writes it (core's sockaddr_utils.cc); "unix:" where it has none.
std::string address_of(int fd) {
  sockaddr_un address{};
  socklen_t length = sizeof address;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return "";
  const std::size_t used = length - offsetof(sockaddr_un, sun_path);
  if (used < 2 || address.sun_path[0] != '\0') return "unix:";
  return "unix-abstract:" + std::string(address.sun_path + 1, used - 1);
}

/// "root (uid 0, pid 42, supervisor)".
std::string name_of_peer(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return "unknown";
  const passwd* user = ::getpwuid(peer.uid);
  std::string process = describe_peer(fd);  // "pid 42 (supervisor)"
  std::erase(process, ')');
  if (const std::size_t name = process.find(" ("); name != std::string::npos) process.replace(name, 2, ", ");
  return (user == nullptr ? "someone" : user->pw_name) + std::string(" (uid ") + std::to_string(peer.uid) +
         ", " + process + ")";
}

std::int64_t seconds_now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

void ControlPeers::forget_closed() {
  std::erase_if(connections_, [](const Connection& c) { return inode_of(c.fd) != c.inode; });
}

/// A line a second at most, however many come.
void ControlPeers::refused(int fd, const std::string& why) {
  ++refused_;
  if (seconds_now() == told_at_) return;
  told_at_ = seconds_now();
  log::warning("refused a connection to the control socket: " + why,
               {{"from", name_of_peer(fd)}, {"refused", std::exchange(refused_, 0)}});
}

bool ControlPeers::admit(int fd) {
  const std::lock_guard lock(mutex_);
  if (!peer_is_self_or_root(fd)) {
    refused(fd, "it is another user's");
    return false;
  }
  forget_closed();
  if (connections_.size() >= max_connections) {
    refused(fd, "there are " + std::to_string(max_connections) + " already");
    return false;
  }
  connections_.push_back({fd, inode_of(fd), address_of(fd), name_of_peer(fd)});
  return true;
}

std::string ControlPeers::name_of(const std::string& grpc_peer) const {
  const std::lock_guard lock(mutex_);
  // The newest: an address is free again once its connection is closed.
  const auto found = std::find_if(connections_.rbegin(), connections_.rend(),
                                  [&](const Connection& c) { return c.address == grpc_peer; });
  return found == connections_.rend() || grpc_peer == "unix:" ? "an unnamed client" : found->name;
}

}  // namespace kms::supervisor
