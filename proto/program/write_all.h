// write_all() is write(2) until all of it is written. Any thread.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace kms {

/// Whether all of `data` went to the blocking descriptor `fd`; where not, errno says why (write(2)).
[[nodiscard]] inline bool write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd, data.data(), data.size());
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) data.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace kms
