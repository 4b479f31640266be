#include "common/io/fd.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "common/error.h"

namespace kms {

void set_non_blocking(int fd) {
  if (::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
    throw_errno("make a descriptor non-blocking");
}

bool write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd, data.data(), data.size());
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) data.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

std::string read_at_most(int fd, std::size_t max, const std::filesystem::path& path) {
  std::string content;
  std::array<char, 4096> part{};
  while (content.size() <= max) {
    const ssize_t got = ::read(fd, part.data(), std::min(part.size(), max + 1 - content.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_errno("read " + path.string());
    if (got == 0) break;
    content.append(part.data(), static_cast<std::size_t>(got));
  }
  return content;
}

}  // namespace kms
