#include "supervisor/instance/socket.h"

#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <map>
#include <utility>

#include "common/net/unix_connection.h"

namespace kms::supervisor {
namespace {

/// Between two restarts of a plugin that binds its own socket and whose socket is lost.
constexpr auto between_restarts = std::chrono::seconds(10);

/// Cached, since the user database may be asked often.
std::string owner_of(const struct stat& file) {
  static thread_local std::map<std::pair<uid_t, gid_t>, std::string> known;
  std::string& owner = known[{file.st_uid, file.st_gid}];
  if (!owner.empty()) return owner;
  const passwd* user = ::getpwuid(file.st_uid);
  const std::string name = user == nullptr ? std::to_string(file.st_uid) : user->pw_name;
  const group* entry = ::getgrgid(file.st_gid);
  return owner = name + ":" + (entry == nullptr ? std::to_string(file.st_gid) : entry->gr_name);
}

/// "none" if the file has no label. SELinux keeps it as an extended attribute.
std::string selinux_label(const std::string& path) {
  std::array<char, 256> label{};
  if (::lgetxattr(path.c_str(), "security.selinux", label.data(), label.size() - 1) > 0) return label.data();
  return errno == ENODATA || errno == ENOTSUP ? "none" : "";
}

/// /proc/net/unix lists the abstract names of this network namespace with '@' for their NUL (proc(5)).
bool abstract_present(const std::string& name) {
  std::ifstream sockets("/proc/net/unix");
  for (std::string line; std::getline(sockets, line);) {
    if (line.ends_with(" @" + name)) return true;
  }
  return false;
}

/// Owner and mode as `ls -l` shows them; an abstract socket has neither.
void describe_socket(const Endpoint& endpoint, mock_kms::v1::Socket& socket) {
  socket.set_endpoint(endpoint.uri());
  if (endpoint.abstract()) return socket.set_present(abstract_present(endpoint.name()));
  struct stat file {};
  if (::stat(endpoint.name().c_str(), &file) != 0 || !S_ISSOCK(file.st_mode)) return;
  std::array<char, 8> mode{};
  std::snprintf(mode.data(), mode.size(), "%04o", static_cast<unsigned>(file.st_mode & 07777));
  socket.set_present(true);
  socket.set_owner(owner_of(file));
  socket.set_mode(mode.data());
  socket.set_inode(file.st_ino);
  socket.set_selinux(selinux_label(endpoint.name()));
}

/// The process that called listen(2) for the socket that is connected to. 0 if nobody listens, or if the
/// process is not visible (another pid namespace).
pid_t listener_of(const UniqueFd& connection) {
  const auto peer = peer_of(connection.get());
  return peer ? peer->pid : 0;
}

/// True if the process is gone, dead, or has a SIGKILL pending. Source: proc(5).
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

/// A connection that nobody accepts breaks when the listening socket is closed.
void await_dying_listener(const Endpoint& endpoint, Duration timeout) {
  const UniqueFd connection = connect_to(endpoint);
  const pid_t pid = listener_of(connection);
  if (pid == 0 || !is_ending(pid)) return;
  pollfd watched{connection.get(), POLLIN, 0};
  ::poll(&watched, 1, static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(timeout).count()));
}

PluginSocket::PluginSocket(asio::io_context& loop, PathWatch& paths, const InstanceConfig& config,
                           Record& record, std::function<void()> check)
    : config_(config), record_(record), check_(std::move(check)), timer_(loop), handover_(config.handover) {
  if (handover_.hand_down()) bind();
  if (!config_.socket.abstract()) paths.add(config_.socket.name(), check_);
}

PluginSocket::~PluginSocket() {
  if (!listener_) remove_stale_socket(config_.socket);  // a plugin that was killed could not
}

/// The socket that the path, or a link there, leads to; empty if there is none.
std::optional<PluginSocket::File> PluginSocket::file() const {
  struct stat found {};
  if (::stat(config_.socket.name().c_str(), &found) != 0 || !S_ISSOCK(found.st_mode)) return std::nullopt;
  return File{found.st_dev, found.st_ino};
}

const UnixListener* PluginSocket::prepare(Generation generation, bool active) {
  if (active) {
    handover_.next_process();
    own_socket_.reset();
  }
  if (!handover_.hand_down()) {
    listener_.reset();
    remove_stale_socket(config_.socket);  // many plugins only bind, and a killed one leaves its path
  } else if (!listener_ || !listener_->in_place()) {
    bind();
  }
  launched_ = generation;
  return listener_ ? &*listener_ : nullptr;
}

void PluginSocket::bind() {
  auto claimed = UnixListener::claim(config_.socket, config_.access);
  if (!claimed) throw Error(claimed.error());
  const bool again = listener_.has_value() || lost_;
  listener_.emplace(*std::move(claimed));
  listener_since_ = launched_ + 1;
  if (again) {
    record_.report(mock_kms::v1::SOCKET_BOUND, log::Level::info, "bound the socket again",
                   {{"socket", config_.socket.uri()}});
  }
}

PluginSocket::Remedy PluginSocket::check(const ActiveProcess& active) {
  if (config_.socket.abstract()) return Remedy::none;
  if (!handover_.hand_down()) return check_own_socket(active);
  if (listener_ && listener_->in_place()) {
    lost_ = false;
    return replace_holder_of_old_socket(active);
  }
  // If the path is only gone, the plugin may be about to bind its own. The socket is bound again when the
  // plugin has answered over its private connection, or for the next process.
  if (active.pid != 0 && !handover_.settled()) return file() ? path_taken(active) : Remedy::none;
  return active.pid != 0 || listener_ ? bind_again(active) : Remedy::none;
}

/// The plugin bound a socket of its own at the path instead of taking the one that was handed down.
PluginSocket::Remedy PluginSocket::path_taken(const ActiveProcess& active) {
  const std::string why = "it put a socket of its own at the path";
  if (handover_.failed(why)) {
    listener_.reset();
    return Remedy::none;
  }
  if (active.killed) return Remedy::none;
  record_.report(mock_kms::v1::TERMINATING, log::Level::error,
                 "ending the plugin: " + why + ", which --handover require forbids", {{"pid", active.pid}});
  return Remedy::kill;
}

/// The path was removed or replaced under a plugin that serves the old socket. A new socket is bound, clients
/// wait in its queue, and a new process takes it over. If someone else holds the path, this retries each
/// second.
PluginSocket::Remedy PluginSocket::bind_again(const ActiveProcess& active) {
  if (!std::exchange(lost_, true)) report_lost();
  try {
    bind();
    lost_ = false;
    bind_error_.clear();
    return replace_holder_of_old_socket(active);
  } catch (const Error& error) {
    if (std::exchange(bind_error_, error.what()) != error.what()) log::error(error.what());
    check_in(std::chrono::seconds(1));
    return Remedy::none;
  }
}

bool PluginSocket::holds_old_socket(const ActiveProcess& active) const {
  return listener_ && active.pid != 0 && active.generation < listener_since_;
}

/// Nobody accepts on a socket that was bound again until a newer process has it. If that process does not get
/// ready, another one is tried.
PluginSocket::Remedy PluginSocket::replace_holder_of_old_socket(const ActiveProcess& active) {
  const Time now = std::chrono::steady_clock::now();
  if (!active.replaceable || !holds_old_socket(active) || now < next_replacement_) return Remedy::none;
  next_replacement_ = now + std::chrono::seconds(1);
  return Remedy::restart;
}

/// True if the path leads elsewhere than when the plugin, which binds it, first answered. Not if the plugin
/// itself has bound it again.
bool PluginSocket::own_socket_lost() {
  if (!own_socket_) return false;
  const auto found = file();
  if (found == own_socket_) return false;
  if (!found || own_listener_ == 0 || listener_of(connect_to(config_.socket)) != own_listener_) return true;
  own_socket_ = found;
  return false;
}

/// Only the plugin can bind its own socket, so it is restarted, at most every between_restarts. It gets a
/// moment to bind the socket again, or to end after it removed the socket.
PluginSocket::Remedy PluginSocket::check_own_socket(const ActiveProcess& active) {
  if (!active.serving || !own_socket_lost()) {
    own_socket_missed_ = false;
    return Remedy::none;
  }
  const Time now = std::chrono::steady_clock::now();
  if (!std::exchange(own_socket_missed_, true)) {
    check_in(std::chrono::milliseconds(100));
    return Remedy::none;
  }
  if (now < next_replacement_) {
    check_in(next_replacement_ - now);
    return Remedy::none;
  }
  next_replacement_ = now + between_restarts;
  report_lost();
  own_socket_.reset();
  return Remedy::restart;
}

void PluginSocket::report_lost() {
  record_.report(mock_kms::v1::SOCKET_LOST, log::Level::error,
                 "the socket was removed or replaced by someone else", {{"socket", config_.socket.uri()}});
}

void PluginSocket::check_in(Duration wait) {
  timer_.expires_after(wait);
  timer_.async_wait([this](const asio::error_code& stopped) {
    if (!stopped) check_();
  });
}

bool PluginSocket::answered(const ProbeAnswer& answer, bool active) {
  if (active && !listener_ && !own_socket_ && !config_.socket.abstract()) {
    own_socket_ = file().value_or(File{});
    own_listener_ = listener_of(connect_to(config_.socket));
  }
  if (!answer.error.empty()) return false;
  const bool other_socket = listener_ && !answer.privately && !listener_->in_place();
  if (other_socket || (handover_.private_probes() && !answer.privately)) return false;
  handover_.answered(answer.privately);
  return true;
}

bool PluginSocket::clients_wait(const ActiveProcess& active) const {
  if (!active.serving || !listener_ || holds_old_socket(active)) return false;
  pollfd queue{listener_->fd(), POLLIN, 0};
  return ::poll(&queue, 1, 0) == 1;
}

std::string PluginSocket::unreachable(const ActiveProcess& active) const {
  if (config_.socket.abstract()) return "";
  const auto found = file();
  const std::string lost = found ? "its socket was replaced by another, which clients reach instead"
                                 : "its socket was removed, and clients do not reach it";
  if (listener_ && !listener_->in_place())
    return lost + "; the supervisor binds it again as soon as possible";
  if (holds_old_socket(active))
    return "its socket was bound again, and the process that will serve it is not ready";
  if (own_socket_ && found != own_socket_)
    return lost + "; the plugin is restarted, since only it can bind it";
  return "";
}

void PluginSocket::fill(mock_kms::v1::SupervisorStatus& status) const {
  describe_socket(config_.socket, *status.mutable_socket());
  status.mutable_socket()->set_in_place(listener_ && listener_->in_place());
  status.set_handover(handover_.text());
}

}  // namespace kms::supervisor
