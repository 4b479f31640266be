#include "common/net/unix_connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

namespace kms {

namespace {

UniqueFd unconnected_socket() {
  return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

UniqueFd connected(UniqueFd fd, const Endpoint& endpoint) {
  const auto [address, length] = endpoint.address();
  if (fd && ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    const int error = errno;
    fd.reset();
    errno = error;
  }
  return fd;
}

}  // namespace

UniqueFd connect_to(const Endpoint& endpoint) { return connected(unconnected_socket(), endpoint); }

UniqueFd connect_by_name(const Endpoint& endpoint) {
  UniqueFd fd = unconnected_socket();
  const sockaddr unnamed{AF_UNIX, {}};
  if (fd && ::bind(fd.get(), &unnamed, sizeof unnamed.sa_family) != 0) return UniqueFd();
  return connected(std::move(fd), endpoint);
}

std::optional<std::string> live_holder(const Endpoint& endpoint) {
  if (const UniqueFd connection = connect_to(endpoint)) return describe_peer(connection.get());
  if (errno == EAGAIN) return "a process whose queue of connections is full";
  if (errno == EACCES) return "a process of another user";
  if (errno == EPROTOTYPE) return "a process whose socket is not a stream socket";
  return std::nullopt;
}

std::string describe_peer(int connected_fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(connected_fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid == 0) {
    return "a process of another pid namespace";
  }
  // The executable's name if it is readable, else the kernel's, which is cut after 15 characters.
  const std::string process = "/proc/" + std::to_string(peer.pid);
  std::error_code unseen;
  std::string name = std::filesystem::read_symlink(process + "/exe", unseen).filename().string();
  if (unseen) std::getline(std::ifstream(process + "/comm") >> std::ws, name);
  return "pid " + std::to_string(peer.pid) + (name.empty() ? "" : " (" + name + ")");
}

bool peer_is_self_or_root(int connected_fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(connected_fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == ::geteuid() || peer.uid == 0;
}

}  // namespace kms
