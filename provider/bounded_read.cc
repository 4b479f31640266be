#include "provider/bounded_read.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "proto/program/error.h"

namespace kms::provider {

std::string read_at_most(int fd, std::size_t most, const std::filesystem::path& path) {
  std::string content;
  std::array<char, 4096> part{};
  while (content.size() <= most) {
    const ssize_t got = ::read(fd, part.data(), std::min(part.size(), most + 1 - content.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_errno("read " + path.string());
    if (got == 0) break;
    content.append(part.data(), static_cast<std::size_t>(got));
  }
  return content;
}

}  // namespace kms::provider
