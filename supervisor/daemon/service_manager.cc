#include "supervisor/daemon/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace kms::supervisor {
namespace {

/// A datagram socket connected to `address`, a path or "@name"; empty if there is none.
UniqueFd connected_to(std::string_view address) {
  sockaddr_un name{};
  if (address.empty() || address.size() >= sizeof name.sun_path) return {};
  name.sun_family = AF_UNIX;
  std::copy(address.begin(), address.end(), name.sun_path);
  if (address[0] == '@') name.sun_path[0] = '\0';
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
  if (fd && ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), length) != 0) fd.reset();
  return fd;
}

long number_in(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? 0 : std::strtol(text, nullptr, 10);
}

}  // namespace

ServiceManager::ServiceManager() {
  const char* address = std::getenv("NOTIFY_SOCKET");
  if (address == nullptr) return;
  socket_ = connected_to(address);
  const long watched = number_in("WATCHDOG_PID");
  const long timeout = number_in("WATCHDOG_USEC");
  if (socket_ && timeout > 0 && (watched == 0 || watched == ::getpid()))
    watchdog_interval_ = std::chrono::microseconds(std::max(timeout / 2, 1L));
}

void ServiceManager::notify(const std::string& state) const {
  if (socket_) static_cast<void>(::send(socket_.get(), state.data(), state.size(), MSG_NOSIGNAL));
}

}  // namespace kms::supervisor
