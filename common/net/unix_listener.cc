#include "common/net/unix_listener.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <thread>

#include "common/net/unix_connection.h"

namespace kms {
namespace {

constexpr int backlog = 4096;

/// The time to wait for another program's lock on the socket's directory. These programs hold it for
/// microseconds.
constexpr std::chrono::seconds lock_timeout{2};

UniqueFd new_socket() {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) throw_errno("make a Unix socket");
  return fd;
}

int bind_to(const UniqueFd& fd, const std::pair<sockaddr_un, socklen_t>& address) {
  return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.first), address.second);
}

Error taken(const Endpoint& endpoint, const std::string& holder) {
  return {"cannot listen on " + endpoint.uri() + ": it is in use by " + holder,
          "stop that process or choose another socket"};
}

/// A listening socket and its file, if it is not abstract.
struct Listening {
  UniqueFd fd;
  struct stat file;
};

Outcome<Listening> listen_abstract(const Endpoint& endpoint) {
  UniqueFd fd = new_socket();
  if (bind_to(fd, endpoint.address()) != 0) {
    if (errno == EADDRINUSE) return taken(endpoint, live_holder(endpoint).value_or("another process"));
    throw_errno("bind " + endpoint.uri());
  }
  if (::listen(fd.get(), backlog) != 0) throw_errno("listen on " + endpoint.uri());
  return Listening{std::move(fd), {}};
}

/// The address of a name in an open directory. It uses the directory's path, which the kernel then lists for
/// listening_sockets(). If that path is too long for a socket, it uses the descriptor.
Endpoint name_within(const UniqueFd& directory, const std::string& path, const std::string& name) {
  const auto listed = Endpoint::parse(path + "/" + name);
  return listed ? *listed : *Endpoint::parse("/proc/self/fd/" + std::to_string(directory.get()) + "/" + name);
}

enum class Locking { done, held_by_others, failed };

/// Locks a directory. Adding or removing a socket is a check and an action; the lock makes them one step. It
/// is held until `directory` is closed.
Locking lock(const UniqueFd& directory) {
  using SteadyClock = std::chrono::steady_clock;
  for (const auto end = SteadyClock::now() + lock_timeout;
       ::flock(directory.get(), LOCK_EX | LOCK_NB) != 0;) {
    if (errno != EWOULDBLOCK && errno != EINTR) return Locking::failed;
    if (SteadyClock::now() > end) return Locking::held_by_others;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return Locking::done;
}

UniqueFd open_directory(const std::filesystem::path& socket) {
  return UniqueFd(::open(socket.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

/// Listens under a temporary name and renames the complete socket into place, so that a client sees either
/// the old socket or the new one, and never one without its mode.
Listening listen_and_rename(const Endpoint& endpoint, const UniqueFd& directory, const std::string& name,
                            const SocketAccess& access) {
  const std::string draft = draft_prefix + std::to_string(::getpid());
  const std::filesystem::path parent = std::filesystem::path(endpoint.name()).parent_path();
  ::unlinkat(directory.get(), draft.c_str(), 0);
  Listening socket{new_socket(), {}};
  if (bind_to(socket.fd, name_within(directory, parent, draft).address()) != 0) {
    throw_errno("bind " + endpoint.uri());
  }
  try {
    const auto owner = access.user.value_or(static_cast<uid_t>(-1));
    const auto group = access.group.value_or(static_cast<gid_t>(-1));
    if ((access.user || access.group) && ::fchownat(directory.get(), draft.c_str(), owner, group, 0) != 0) {
      throw_errno("give " + endpoint.uri() + " its owner", "only root may give a socket to another user");
    }
    if (::fchmodat(directory.get(), draft.c_str(), access.mode, 0) != 0)
      throw_errno("set the mode of " + endpoint.uri());
    if (::listen(socket.fd.get(), backlog) != 0) throw_errno("listen on " + endpoint.uri());
    if (::fstatat(directory.get(), draft.c_str(), &socket.file, AT_SYMLINK_NOFOLLOW) != 0) {
      throw_errno("read the inode of " + endpoint.uri());
    }
    if (::renameat(directory.get(), draft.c_str(), directory.get(), name.c_str()) != 0) {
      throw_errno("put " + endpoint.uri() + " in place");
    }
  } catch (...) {
    ::unlinkat(directory.get(), draft.c_str(), 0);
    throw;
  }
  return socket;
}

Outcome<Listening> listen_at_path(const Endpoint& endpoint, const SocketAccess& access,
                                  OnLiveSocket on_live_socket) {
  const std::filesystem::path path(endpoint.name());
  const std::string parent = path.parent_path().string();
  const UniqueFd directory = open_directory(path);
  if (!directory) {
    return Error(
        "cannot listen on " + endpoint.uri() + ": cannot open directory " + parent + ": " + errno_text(errno),
        "create the directory first");
  }
  const Locking locking = lock(directory);
  if (locking == Locking::failed) throw_errno("lock directory " + parent);
  if (locking == Locking::held_by_others) {
    return Error(
        "cannot listen on " + endpoint.uri() + ": another program holds the lock of directory " + parent,
        "find it by 'fuser " + parent + "', or choose another directory");
  }
  struct stat found {};
  if (::lstat(endpoint.name().c_str(), &found) == 0) {
    if (!S_ISSOCK(found.st_mode)) {
      return Error("cannot listen on " + endpoint.uri() + ": the path is not a socket",
                   "remove it or choose another path");
    }
    if (on_live_socket == OnLiveSocket::fail) {
      if (const auto holder = live_holder(endpoint)) return taken(endpoint, *holder);
    }
  }
  return listen_and_rename(endpoint, directory, path.filename().string(), access);
}

/// A user or group id from a number or a name. `look_up` returns -1 for an unknown name; chown(2) takes -1
/// for "as before".
template <class Id, class LookUp>
Outcome<Id> parse_id(const std::string& text, const char* kind, LookUp look_up) {
  Id id{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  constexpr Id none = static_cast<Id>(-1);
  if (error == std::errc{} && end == text.data() + text.size() && id != none) return id;
  const Id found = look_up(text);
  if (found != none) return found;
  return Error(std::string("no such ") + kind + ": '" + text + "'", "use a name of this machine or a number");
}

}  // namespace

Outcome<mode_t> parse_socket_mode(const std::string& text) {
  unsigned mode = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || mode > 0777) {
    return Error("'" + text + "' is not a file mode", "write it in octal, such as 0600 or 0660");
  }
  return static_cast<mode_t>(mode);
}

Outcome<> parse_socket_owner(const std::string& text, SocketAccess& access) {
  const auto colon = text.find(':');
  const std::string user = text.substr(0, colon);
  const std::string group = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (user.empty() && group.empty())
    return Error("the socket's owner is empty", "write USER, USER:GROUP or :GROUP");
  if (!user.empty()) {
    const auto id = parse_id<uid_t>(user, "user", [](const std::string& name) {
      const passwd* entry = ::getpwnam(name.c_str());
      return entry == nullptr ? static_cast<uid_t>(-1) : entry->pw_uid;
    });
    if (!id) return id.error();
    access.user = *id;
  }
  if (!group.empty()) {
    const auto id = parse_id<gid_t>(group, "group", [](const std::string& name) {
      const ::group* entry = ::getgrnam(name.c_str());
      return entry == nullptr ? static_cast<gid_t>(-1) : entry->gr_gid;
    });
    if (!id) return id.error();
    access.group = *id;
  }
  return {};
}

bool may_open(const SocketAccess& access, int connected_fd) {
  constexpr mode_t read_and_write = 06;
  const auto peer = peer_of(connected_fd);
  if (!peer) return false;
  if (peer->uid == 0) return true;
  const auto allows = [&](unsigned shift) {
    return (access.mode >> shift & read_and_write) == read_and_write;
  };
  if (peer->uid == access.user.value_or(::geteuid())) return allows(6);
  std::array<gid_t, 1024> groups{};
  socklen_t size = sizeof groups;
  if (::getsockopt(connected_fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) != 0) size = 0;
  const gid_t group = access.group.value_or(::getegid());
  const gid_t* const end = groups.data() + size / sizeof(gid_t);
  if (peer->gid == group || std::find<const gid_t*>(groups.data(), end, group) != end) return allows(3);
  return allows(0);
}

Outcome<UnixListener> UnixListener::claim(const Endpoint& endpoint, const SocketAccess& access,
                                          OnLiveSocket on_live_socket) {
  Outcome<Listening> claimed =
      endpoint.abstract() ? listen_abstract(endpoint) : listen_at_path(endpoint, access, on_live_socket);
  if (!claimed) return claimed.error();
  auto& [fd, file] = *claimed;
  UnixListener listener(endpoint, std::move(fd));
  listener.device_ = file.st_dev;
  listener.inode_ = file.st_ino;
  return listener;
}

bool UnixListener::in_place() const {
  struct stat found {};
  if (endpoint_.abstract()) return true;
  if (::lstat(endpoint_.name().c_str(), &found) != 0) return false;
  return found.st_dev == device_ && found.st_ino == inode_;
}

UnixListener::~UnixListener() {
  if (!fd_ || endpoint_.abstract()) return;
  // Without the lock a successor could bind the path between the check and the removal.
  const UniqueFd directory = open_directory(endpoint_.name());
  if (directory && lock(directory) == Locking::done && in_place()) ::unlink(endpoint_.name().c_str());
}

void remove_stale_socket(const Endpoint& endpoint) {
  if (endpoint.abstract()) return;
  const UniqueFd directory = open_directory(endpoint.name());
  if (!directory || lock(directory) != Locking::done) return;
  struct stat found {};
  if (::lstat(endpoint.name().c_str(), &found) == 0 && S_ISSOCK(found.st_mode) && !live_holder(endpoint)) {
    ::unlink(endpoint.name().c_str());
  }
}

}  // namespace kms
