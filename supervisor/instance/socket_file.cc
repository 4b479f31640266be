#include "supervisor/instance/socket_file.h"

#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <map>
#include <string>
#include <utility>

#include "common/net/unix_connection.h"

namespace kms::supervisor {
namespace {

/// Read from the system's files once for each user and group: a status may be asked for often.
std::string owner_of(const struct stat& file) {
  static thread_local std::map<std::pair<uid_t, gid_t>, std::string> known;
  std::string& owner = known[{file.st_uid, file.st_gid}];
  if (!owner.empty()) return owner;
  const passwd* user = ::getpwuid(file.st_uid);
  const std::string name = user == nullptr ? std::to_string(file.st_uid) : user->pw_name;
  const group* entry = ::getgrgid(file.st_gid);
  return owner = name + ":" + (entry == nullptr ? std::to_string(file.st_gid) : entry->gr_name);
}

/// "none" where the file has no label; SELinux keeps it as an extended attribute.
std::string selinux_label(const std::string& path) {
  std::array<char, 256> label{};
  if (::lgetxattr(path.c_str(), "security.selinux", label.data(), label.size() - 1) > 0) return label.data();
  return errno == ENODATA || errno == ENOTSUP ? "none" : "";
}

/// Abstract names of this network namespace stand in /proc/net/unix with '@' for their NUL (proc(5)).
bool abstract_present(const std::string& name) {
  std::ifstream sockets("/proc/net/unix");
  for (std::string line; std::getline(sockets, line);) {
    if (line.ends_with(" @" + name)) return true;
  }
  return false;
}

/// The process that called listen(2) for the socket that is connected to; 0 where that is not known.
pid_t listener_of(const UniqueFd& connection) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!connection || ::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return 0;
  return peer.pid;
}

/// Whether a process is gone, dead or about to be: it ends, or was sent a SIGKILL. Source: proc(5).
bool is_ending(pid_t pid) {
  constexpr auto kill = 1UL << (SIGKILL - 1);
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  bool known = false;
  for (std::string line; std::getline(status, line); known = true) {
    if (line.starts_with("State:") && line.find_first_of("ZX", 6) != std::string::npos) return true;
    const bool pending = line.starts_with("SigPnd:") || line.starts_with("ShdPnd:");
    if (pending && (std::stoul(line.substr(7), nullptr, 16) & kill) != 0) return true;
  }
  return !known;
}

}  // namespace

mock_kms::v1::Socket describe_socket(const Endpoint& endpoint) {
  mock_kms::v1::Socket socket;
  socket.set_endpoint(endpoint.uri());
  if (endpoint.abstract()) {
    socket.set_present(abstract_present(endpoint.name()));
    return socket;
  }
  struct stat file {};
  if (::stat(endpoint.name().c_str(), &file) != 0 || !S_ISSOCK(file.st_mode)) return socket;
  std::array<char, 8> mode{};
  std::snprintf(mode.data(), mode.size(), "%04o", static_cast<unsigned>(file.st_mode & 07777));
  socket.set_present(true);
  socket.set_owner(owner_of(file));
  socket.set_mode(mode.data());
  socket.set_inode(file.st_ino);
  socket.set_selinux(selinux_label(endpoint.name()));
  return socket;
}

std::optional<SocketFile> socket_file_at(const Endpoint& endpoint) {
  struct stat file {};
  if (::stat(endpoint.name().c_str(), &file) != 0 || !S_ISSOCK(file.st_mode)) return std::nullopt;
  return SocketFile{file.st_dev, file.st_ino};
}

pid_t listener_at(const Endpoint& endpoint) { return listener_of(connect_to(endpoint)); }

/// A connection that nobody accepts breaks when the socket that it waits at is closed.
void await_dying_listener(const Endpoint& endpoint, Duration patience) {
  const UniqueFd connection = connect_to(endpoint);
  const pid_t pid = listener_of(connection);
  if (pid == 0 || !is_ending(pid)) return;
  pollfd watched{connection.get(), POLLIN, 0};
  ::poll(&watched, 1, static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(patience).count()));
}

}  // namespace kms::supervisor
