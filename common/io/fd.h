// UniqueFd owns one file descriptor and closes it; beside it, reads and writes that finish what they began.
//
// UniqueFd is move-only; one thread uses it at a time. Open a descriptor with CLOEXEC (O_CLOEXEC,
// SOCK_CLOEXEC), so that no child inherits it.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace kms {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~UniqueFd() { reset(); }

  /// The descriptor, or -1 if there is none.
  [[nodiscard]] int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

  /// Gives the descriptor away; the caller closes it.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

  /// Closes the descriptor and takes `fd`. close(2) is not retried: on Linux the descriptor is gone even on
  /// EINTR.
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

/// Throws Error.
void set_non_blocking(int fd);

/// True if `path` leads to what is open as `fd`; false once another program has removed or replaced it.
[[nodiscard]] bool is_open_at(const std::filesystem::path& path, int fd);

/// Writes all of `data`, and waits if the descriptor is not ready. On false, errno is that of write(2).
[[nodiscard]] bool write_all(int fd, std::string_view data);

/// Writes the whole file, or leaves the one that was there. A device or a pipe is written as it is. Throws
/// Error.
void write_file(const std::filesystem::path& path, std::string_view text);

/// Reads `fd` to its end, but at most `max` + 1 bytes: a result larger than `max` means the file is too
/// large. `path` names the file in errors. Throws Error.
[[nodiscard]] std::string read_at_most(int fd, std::size_t max, const std::filesystem::path& path);

}  // namespace kms
