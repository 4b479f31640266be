#include "supervisor/output/plugin_output.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <asio/buffer.hpp>
#include <asio/error.hpp>

#include "common/error.h"

namespace kms::supervisor {

int OutputPipe::open() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("make a pipe for the plugin's output");
  pipe_ = asio::posix::stream_descriptor(loop_, ends[0]);
  pipe_.non_blocking(true);
  read_next();
  return ends[1];
}

/// Waits for bytes and reads them only then: none are under way when the process ends and its Child goes. The
/// handler may be queued already at that moment, so it looks first whether anything is left to handle for.
void OutputPipe::read_next() {
  pipe_.async_wait(asio::posix::stream_descriptor::wait_read,
                   [this, alive = std::weak_ptr<const bool>(alive_)](const asio::error_code& error) {
                     if (error || alive.expired()) return;
                     if (read_some() > 0) read_next();
                   });
}

/// 0 at the end of the pipe; an empty one counts as a byte.
std::size_t OutputPipe::read_some() {
  asio::error_code error;
  const std::size_t size = pipe_.read_some(asio::buffer(buffer_), error);
  if (error) return error == asio::error::would_block ? 1 : 0;
  take({buffer_.data(), size});
  return size;
}

void OutputPipe::drain() {
  // What the process wrote fits into the pipe. More may be there by a descendant that goes on writing.
  const int capacity = ::fcntl(pipe_.native_handle(), F_GETPIPE_SZ);
  int waiting = 0;
  if (::ioctl(pipe_.native_handle(), FIONREAD, &waiting) != 0) waiting = capacity;
  for (std::size_t left = static_cast<std::size_t>(std::max(0, std::min(waiting, capacity))); left > 0;) {
    const std::size_t size = read_some();
    if (size == 0) break;
    left -= std::min(left, size);
  }
  if (!line_.empty()) finish_line();
}

void OutputPipe::take(std::string_view bytes) {
  for (const char c : bytes) {
    if (c == '\n') {
      finish_line();
      continue;
    }
    line_ += c;
    if (line_.size() == max_line) finish_line();
  }
}

void OutputPipe::finish_line() {
  pass_on_(line_);
  lines_.push_back(std::exchange(line_, {}));
  if (lines_.size() > kept_lines) lines_.pop_front();
}

std::vector<std::string> OutputPipe::last_lines() const { return {lines_.begin(), lines_.end()}; }

}  // namespace kms::supervisor
