#include "common/net/handed_down.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <sstream>
#include <string_view>

namespace kms {
namespace {

constexpr auto fd_names = "kms:probe:activate";

/// Removes an environment variable and returns its value; "" if it is not set.
std::string take_variable(const char* name) {
  const char* value = std::getenv(name);
  std::string taken = value == nullptr ? "" : value;
  ::unsetenv(name);
  return taken;
}

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool listens(int fd) {
  int listening = 0;
  socklen_t size = sizeof listening;
  return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening == 1;
}

Error unusable(int fd, const std::string& why) {
  return {"cannot take over descriptor " + std::to_string(fd) + " that LISTEN_FDS announces: " + why,
          "start the plugin under a supervisor, or without LISTEN_FDS in its environment"};
}

}  // namespace

Outcome<std::optional<HandedDown>> take_handed_down() {
  const std::string pid = take_variable(handed_down_pid_variable);
  const std::string count_text = take_variable("LISTEN_FDS");
  std::istringstream announced(take_variable("LISTEN_FDNAMES"));
  if (number(pid) != ::getpid() || number(count_text).value_or(0) < 1) return std::optional<HandedDown>();
  HandedDown sockets;
  for (int i = 0; i < *number(count_text); ++i) {
    const int fd = first_handed_down_fd + i;
    std::string name =
        i == 0 ? "kms" : "unknown";  // names may be missing; the first socket is the endpoint's
    std::getline(announced, name, ':');
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) return unusable(fd, errno_text(errno));
    if (name == "probe") {
      sockets.probe.reset(fd);
    } else if (name == "activate") {
      sockets.activate.reset(fd);
    } else if (i == 0) {
      sockets.listening.reset(fd);
    } else {
      ::close(fd);
    }
  }
  const int fd = sockets.listening.get();
  if (!listens(fd)) return unusable(first_handed_down_fd, "it is not a listening socket");
  if (::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) return unusable(fd, errno_text(errno));
  return std::optional(std::move(sockets));
}

std::vector<std::string> handed_down_environment() {
  return {"LISTEN_FDS=3", std::string("LISTEN_FDNAMES=") + fd_names};
}

}  // namespace kms
