#include "supervisor/output/line_writer.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <string_view>

#include "common/error.h"

namespace kms::supervisor {
namespace {

using Clock = std::chrono::steady_clock;

/// The time for the lines that wait at the end.
constexpr auto end_timeout = std::chrono::seconds(1);

constexpr int retry_after_ms = 500;

/// Errors that no later write survives. All others, such as a full disk, may pass.
bool is_final(int error) {
  return error == EPIPE || error == EBADF || error == EINVAL || error == ECONNRESET || error == ENOTCONN;
}

/// The memory of a line. If a reader stalls, a million empty ones may wait.
std::size_t size_of(const std::string& line) { return sizeof(std::string) + line.size(); }

}  // namespace

LineWriter::LineWriter(int fd) : fd_(fd), end_event_(::eventfd(0, EFD_CLOEXEC)) {
  if (!end_event_) throw_errno("make an event descriptor");
  thread_ = std::thread([this] { run(); });
}

LineWriter::~LineWriter() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ::eventfd_write(end_event_.get(), 1);
  changed_.notify_one();
  thread_.join();
}

void LineWriter::write(std::string line) {
  line += '\n';
  const std::lock_guard lock(mutex_);
  if (waiting_ + size_of(line) > capacity) {
    ++dropped_;
    return;
  }
  waiting_ += size_of(line);
  lines_.push_back(std::move(line));
  changed_.notify_one();
}

std::uint64_t LineWriter::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

/// Waits for the next line; "" at the end. Dropped lines are reported in their place.
std::string LineWriter::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return ending_ || !lines_.empty() || dropped_ > dropped_reported_; });
  if (lines_.empty()) {
    const std::uint64_t missing = dropped_ - dropped_reported_;
    dropped_reported_ = dropped_;
    return missing == 0 ? ""
                        : "supervisor: " + std::to_string(missing) +
                              " lines were dropped: nobody read them, or they could not be written\n";
  }
  std::string line = std::move(lines_.front());
  lines_.pop_front();
  waiting_ -= size_of(line);
  return line;
}

/// A write of PIPE_BUF bytes does not block after this (pipe(7)). False if the reader is gone, or if the end
/// has come and nobody reads.
bool LineWriter::wait_until_writable() {
  std::array watched{pollfd{fd_, POLLOUT, 0}, pollfd{end_event_.get(), POLLIN, 0}};
  if (::poll(watched.data(), watched.size(), -1) < 0) return errno == EINTR;
  if (watched[1].revents != 0 && !give_up_at_) give_up_at_ = Clock::now() + end_timeout;
  if (watched[0].revents == 0) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*give_up_at_ - Clock::now()).count();
    ::poll(watched.data(), 1, static_cast<int>(std::max<decltype(left)>(left, 0)));
  }
  return (watched[0].revents & POLLOUT) != 0;
}

/// Waits before another try. False at the end, which does not wait for a full disk.
bool LineWriter::wait_to_retry() const {
  pollfd end{end_event_.get(), POLLIN, 0};
  return ::poll(&end, 1, retry_after_ms) != 1;
}

void LineWriter::run() {
  for (std::string line = next(); !line.empty(); line = next()) {
    std::string_view rest = line;
    while (!rest.empty()) {
      if (!wait_until_writable()) return;
      const ssize_t written = ::write(fd_, rest.data(), std::min<std::size_t>(rest.size(), PIPE_BUF));
      if (written < 0 && errno != EINTR && errno != EAGAIN && (is_final(errno) || !wait_to_retry())) return;
      if (written > 0) rest.remove_prefix(static_cast<std::size_t>(written));
    }
  }
}

}  // namespace kms::supervisor
