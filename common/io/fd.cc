#include "common/io/fd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "common/error.h"

namespace kms {
namespace {

/// By errno. A parent may have made a pipe non-blocking: this waits for it.
bool may_try_again(int fd, short events) {
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    pollfd ready{fd, events, 0};
    return ::poll(&ready, 1, -1) == 1 || errno == EINTR;
  }
  return errno == EINTR;
}

}  // namespace

void set_non_blocking(int fd) {
  if (::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
    throw_errno("make a descriptor non-blocking");
}

bool is_open_at(const std::filesystem::path& path, int fd) {
  struct stat opened {};
  struct stat there {};
  return ::fstat(fd, &opened) == 0 && ::stat(path.c_str(), &there) == 0 && opened.st_dev == there.st_dev &&
         opened.st_ino == there.st_ino;
}

bool write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd, data.data(), data.size());
    if (written < 0 && !may_try_again(fd, POLLOUT)) return false;
    if (written > 0) data.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

std::string read_at_most(int fd, std::size_t max, const std::filesystem::path& path) {
  std::string content;
  std::array<char, 4096> part{};
  while (content.size() <= max) {
    const ssize_t got = ::read(fd, part.data(), std::min(part.size(), max + 1 - content.size()));
    if (got < 0 && may_try_again(fd, POLLIN)) continue;
    if (got < 0) throw_errno("read " + path.string());
    if (got == 0) break;
    content.append(part.data(), static_cast<std::size_t>(got));
  }
  return content;
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  namespace fs = std::filesystem;
  const auto fail = [&](const std::string& reason) {
    throw Error("cannot write " + path.string() + ": " + reason,
                "name a file in a directory that exists and has enough space");
  };
  std::error_code error;
  const fs::path file = fs::is_symlink(path, error) ? fs::weakly_canonical(path, error) : path;
  const bool is_device = fs::exists(file, error) && !fs::is_regular_file(file, error);
  const std::string draft = file.string() + (is_device ? "" : ".new-" + std::to_string(::getpid()));
  const UniqueFd fd(::open(draft.c_str(), O_WRONLY | O_CLOEXEC | (is_device ? 0 : O_CREAT | O_TRUNC), 0666));
  if (!fd) fail(errno_text(errno));
  if (write_all(fd.get(), text) && (is_device || ::rename(draft.c_str(), file.c_str()) == 0)) return;
  const std::string reason = errno_text(errno);
  if (!is_device) ::unlink(draft.c_str());
  fail(reason);
}

}  // namespace kms
