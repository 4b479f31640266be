// What happens to the files that an Instance lives by: its socket and its plugin's binary.
#include <poll.h>

#include <csignal>

#include "supervisor/instance/instance.h"

namespace kms::supervisor {
namespace {

/// Of a plugin that binds its own socket and whose socket is lost.
constexpr auto between_restarts = std::chrono::seconds(10);

constexpr auto socket_lost_text = "the socket was removed or replaced by someone else";

}  // namespace

void Instance::bind_socket() {
  auto claimed = UnixListener::claim(config_.socket, config_.access);
  if (!claimed) throw Error(claimed.error());
  const bool anew = listener_.has_value() || socket_lost_;
  listener_.emplace(*std::move(claimed));
  socket_since_ = launched_ + 1;
  if (anew) {
    tell(mock_kms::v1::SOCKET_BOUND, log::Level::info, "bound the socket anew",
         {{"socket", config_.socket.uri()}});
  }
}

/// The path was removed or replaced under a plugin that serves the old socket: a new socket is bound, clients
/// wait in its queue, and a new process takes it over. Tried each second where someone else holds the path.
void Instance::bind_socket_anew() {
  if (!std::exchange(socket_lost_, true)) {
    tell(mock_kms::v1::SOCKET_LOST, log::Level::error, socket_lost_text, {{"socket", config_.socket.uri()}});
  }
  try {
    bind_socket();
    socket_lost_ = false;
    bind_failure_.clear();
    replace_holder_of_old_socket();
  } catch (const Error& error) {
    if (std::exchange(bind_failure_, error.what()) != error.what()) log::error(error.what());
    check_socket_in(std::chrono::seconds(1));
  }
}

void Instance::check_socket_in(Duration wait) {
  socket_timer_.expires_after(wait);
  socket_timer_.async_wait([this](const asio::error_code& stopped) {
    if (!stopped) check_socket();
  });
}

/// Called when something has happened in the socket's directory, and after each probe.
void Instance::check_socket() {
  if (config_.socket.abstract()) return;
  if (!handover_.hand_down()) return check_own_socket();
  Child* active = child(active_);
  if (listener_ && listener_->in_place()) {
    socket_lost_ = false;
    return replace_holder_of_old_socket();
  }
  if (active != nullptr && !handover_.settled()) {
    // One that is only gone may be about to be replaced by the plugin. It is bound anew when the plugin has
    // answered over the connection that was handed down, or for its next process.
    if (socket_file_at(config_.socket)) took_the_path(*active);
    return;
  }
  if (active != nullptr || listener_) bind_socket_anew();
}

/// The plugin puts a socket of its own at the path instead of taking the one that was handed down.
void Instance::took_the_path(Child& active) {
  const std::string why = "it put a socket of its own at the path";
  if (handover_.failed(why)) {
    listener_.reset();
    return;
  }
  if (active.killed()) return;
  tell(mock_kms::v1::GIVEN_UP, log::Level::error,
       "ending the plugin: " + why + ", which --handover require forbids", {{"pid", active.pid()}});
  active.send_signal(SIGKILL);
}

bool Instance::active_holds_old_socket() const {
  return listener_ && child(active_) != nullptr && active_ < socket_since_;
}

/// Nobody accepts on a socket that was bound anew until a process has it that was launched since. One that
/// does not get ready is tried again.
void Instance::replace_holder_of_old_socket() {
  const State& state = lifecycle_.state();
  const bool lives = std::holds_alternative<Starting>(state) || std::holds_alternative<Serving>(state);
  const Time now = std::chrono::steady_clock::now();
  if (!lives || !active_holds_old_socket() || lifecycle_.restarting() || now < next_replacement_) return;
  next_replacement_ = now + std::chrono::seconds(1);
  dispatch(RestartRequested{});
}

/// Whether the path leads elsewhere than when the plugin, which binds it, first answered. Not where the
/// plugin itself has bound it anew.
bool Instance::own_socket_lost() {
  if (!own_socket_) return false;
  const auto found = socket_file_at(config_.socket);
  if (found == own_socket_) return false;
  if (!found || own_listener_ == 0 || listener_at(config_.socket) != own_listener_) return true;
  own_socket_ = found;
  return false;
}

/// Only the plugin can bind what it bound, so it is restarted, now and then at the most. A moment is left to
/// one that does so anew, or that removes its socket at its end.
void Instance::check_own_socket() {
  if (!ready() || !own_socket_lost()) {
    own_socket_missed_ = false;
    return;
  }
  if (!std::exchange(own_socket_missed_, true)) return check_socket_in(std::chrono::milliseconds(100));
  if (std::chrono::steady_clock::now() < next_replacement_)
    return check_socket_in(next_replacement_ - std::chrono::steady_clock::now());
  next_replacement_ = std::chrono::steady_clock::now() + between_restarts;
  tell(mock_kms::v1::SOCKET_LOST, log::Level::error, socket_lost_text, {{"socket", config_.socket.uri()}});
  own_socket_.reset();
  dispatch(RestartRequested{});
}

/// Connections wait in the queue of the socket that the active process serves.
bool Instance::clients_wait() const {
  if (!ready() || !listener_ || active_holds_old_socket()) return false;
  pollfd queue{listener_->fd(), POLLIN, 0};
  return ::poll(&queue, 1, 0) == 1;
}

std::string Instance::unreachable() const {
  if (config_.socket.abstract()) return "";
  const auto found = socket_file_at(config_.socket);
  const std::string lost = found ? "its socket was replaced by another, which clients reach instead"
                                 : "its socket was removed, and clients do not reach it";
  if (listener_ && !listener_->in_place()) return lost + "; it is bound anew as soon as that is possible";
  if (active_holds_old_socket())
    return "its socket was bound anew, and the process that will serve it is not ready";
  if (own_socket_ && found != own_socket_)
    return lost + "; the plugin is restarted, since only it can bind it";
  return "";
}

void Instance::on_binary_change() {
  context_.binaries.describe({binary_}, [this](const auto& described) { on_binary(described.front()); });
}

/// Only a whole binary is started: one that build-info.json beside it describes. A half-written one is looked
/// at again when it changes next. The first one that is seen is the one that runs.
void Instance::on_binary(const mock_kms::v1::BinaryOnDisk& binary) {
  if (binary.sha256().empty() || binary.sha256() == upgraded_to_) return;
  if (upgraded_to_.empty()) {
    upgraded_to_ = binary.sha256();
    return;
  }
  if (!binary.matches_build()) {
    log::warning(
        "the binary has changed and is not the one that build-info.json describes; it is not started",
        {{"binary", binary.path()}, {"sha256", binary.sha256()}});
    return;
  }
  upgraded_to_ = binary.sha256();
  tell(mock_kms::v1::BINARY_CHANGED, log::Level::info, "another binary was published",
       {{"sha256", binary.sha256()}, {"commit", binary.build().commit()}});
  dispatch(RestartRequested{});
}

}  // namespace kms::supervisor
