// UniqueFd owns one file descriptor and closes it.
//
// Move-only; used from any one thread at a time. It never duplicates a descriptor, and whoever makes one
// opens it with CLOEXEC (O_CLOEXEC, SOCK_CLOEXEC, ...), so that no child inherits it unasked.
#pragma once

#include <unistd.h>

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

  /// The descriptor, or -1 where nothing is owned.
  [[nodiscard]] int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

  /// Gives the descriptor away; the caller closes it.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

  /// Closes what is owned and takes `fd`. close(2) is not retried: on Linux the descriptor is gone even on
  /// EINTR.
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace kms
