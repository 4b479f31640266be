#include "common/net/unix_connection.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace kms {

namespace {

/// The names under which the sockets that the kernel lists as `path` may be reached: those in its directory
/// if a UnixListener has renamed it, else its own.
std::vector<std::string> names_of(const std::string& path) {
  const std::filesystem::path listed(path);
  if (!listed.filename().string().starts_with(draft_prefix)) return {path.front() == '@' ? "/" + path : path};
  std::vector<std::string> names;
  std::error_code unreadable;
  for (const auto& entry : std::filesystem::directory_iterator(listed.parent_path(), unreadable)) {
    if (entry.is_socket(unreadable)) names.push_back(entry.path());
  }
  return names;
}

/// The paths of all listening sockets as the kernel lists them; "@name" of an abstract one.
std::set<std::string> listening_paths() {
  constexpr auto accepts_connections = "00010000";  // __SO_ACCEPTCON (include/linux/net.h)
  std::set<std::string> paths;
  std::ifstream table("/proc/net/unix");  // proc(5): Num RefCount Protocol Flags Type St Inode Path
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string number, references, protocol, flags, type, state, inode, path;
    fields >> number >> references >> protocol >> flags >> type >> state >> inode;
    std::getline(fields >> std::ws, path);
    if (flags == accepts_connections && !path.empty()) paths.insert(path);
  }
  return paths;
}

}  // namespace

std::vector<Endpoint> listening_sockets(std::string_view program, std::string_view part) {
  std::set<std::string> names;
  for (const std::string& path : listening_paths()) {
    for (std::string& name : names_of(path)) names.insert(std::move(name));
  }
  std::vector<Endpoint> sockets;
  for (const std::string& name : names) {
    const auto endpoint = Endpoint::parse("unix://" + name);
    if (!endpoint || endpoint->name().find(part) == std::string::npos) continue;
    const UniqueFd connection = connect_to(*endpoint);
    if (connection && describe_peer(connection.get()).ends_with("(" + std::string(program) + ")"))
      sockets.push_back(*endpoint);
  }
  return sockets;
}

UniqueFd connect_to(const Endpoint& endpoint) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const auto [address, length] = endpoint.address();
  if (fd && ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    const int error = errno;
    fd.reset();
    errno = error;
  }
  return fd;
}

std::string connect_error_text(const Endpoint& endpoint, int error) {
  std::error_code unreadable;
  const bool is_other = error == ECONNREFUSED && !endpoint.abstract() &&
                        std::filesystem::exists(endpoint.name(), unreadable) &&
                        !std::filesystem::is_socket(endpoint.name(), unreadable);
  return is_other ? "it is not a socket" : errno_text(error);
}

std::optional<std::string> live_holder(const Endpoint& endpoint) {
  if (const UniqueFd connection = connect_to(endpoint)) return describe_peer(connection.get());
  if (errno == EAGAIN) return "a process whose queue of connections is full";
  if (errno == EACCES) return "a process of another user";
  if (errno == EPROTOTYPE) return "a process whose socket is not a stream socket";
  return std::nullopt;
}

std::optional<ucred> peer_of(int connected_fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(connected_fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  return peer;
}

std::string describe_peer(int connected_fd) {
  const auto peer = peer_of(connected_fd);
  if (!peer || peer->pid == 0) return "a process of another pid namespace";
  // The executable's name if it is readable, else the kernel's, which is cut after 15 characters.
  const std::string process = "/proc/" + std::to_string(peer->pid);
  std::error_code unseen;
  std::string name = std::filesystem::read_symlink(process + "/exe", unseen).filename().string();
  if (unseen) std::getline(std::ifstream(process + "/comm") >> std::ws, name);
  return "pid " + std::to_string(peer->pid) + (name.empty() ? "" : " (" + name + ")");
}

std::string answering_providers() {
  constexpr std::string_view ending = ".control";
  std::string text;
  for (const Endpoint& control : listening_sockets("mock-kms-provider", ending)) {
    const std::string uri = control.uri();
    if (!uri.ends_with(ending)) continue;
    const auto beside = Endpoint::parse(uri.substr(0, uri.size() - ending.size()));
    if (beside && connect_to(*beside)) text += (text.empty() ? "; one answers on " : ", ") + beside->uri();
  }
  return text;
}

bool peer_is_self_or_root(int connected_fd) {
  const auto peer = peer_of(connected_fd);
  return peer && (peer->uid == ::geteuid() || peer->uid == 0);
}

}  // namespace kms
