// What happens to the files that an Instance lives by: its socket and its plugin's binary.
#include <csignal>

#include "supervisor/instance.h"

namespace kms::supervisor {

void Instance::bind_socket() {
  auto claimed = UnixListener::claim(supervision_.socket, supervision_.access);
  if (const Failure* failure = failure_of(claimed)) throw Error(*failure);
  const bool anew = listener_.has_value();
  listener_.emplace(std::move(std::get<UnixListener>(claimed)));
  if (anew) {
    tell(mock_kms::v1::SOCKET_BOUND, log::Level::info, "bound the socket anew",
         {{"socket", supervision_.socket.uri()}});
  }
  if (supervision_.socket.abstract() || std::exchange(socket_watched_, true)) return;
  around_.paths.add(supervision_.socket.name(), [this] { on_socket_change(); });
}

/// The path was removed or replaced under a plugin that serves the old socket: a new socket is bound, clients
/// wait in its queue, and a new process takes it over. Tried each second where someone else holds the path.
void Instance::bind_socket_anew() {
  if (!std::exchange(socket_lost_, true)) {
    tell(mock_kms::v1::SOCKET_LOST, log::Level::error, "the socket was removed or replaced by someone else",
         {{"socket", supervision_.socket.uri()}});
  }
  try {
    bind_socket();
    socket_lost_ = false;
    bind_failure_.clear();
    feed(RestartRequested{});
  } catch (const Error& error) {
    if (std::exchange(bind_failure_, error.what()) != error.what()) log::error(error.what());
    bind_timer_.expires_after(std::chrono::seconds(1));
    bind_timer_.async_wait([this](const asio::error_code& stopped) {
      if (!stopped) on_socket_change();
    });
  }
}

void Instance::on_socket_change() {
  if (!listener_ || listener_->in_place()) return;
  Child* active = child(lifecycle_.generation());
  if (active != nullptr && !handover_.settled()) {
    const std::string why = "it put a socket of its own at the path";
    if (handover_.failed(why)) {
      listener_.reset();
    } else {
      tell(mock_kms::v1::GIVEN_UP, log::Level::error,
           "ending the plugin: " + why + ", which --handover require forbids", {{"pid", active->pid()}});
      active->send_signal(SIGKILL);
    }
    return;
  }
  bind_socket_anew();
}

void Instance::on_binary_change() {
  around_.binaries.describe({binary_}, [this](const auto& described) { on_binary(described.front()); });
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
  feed(RestartRequested{});
}

}  // namespace kms::supervisor
