#include "supervisor/output/plugin_output.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <asio/buffer.hpp>
#include <asio/error.hpp>

#include "common/error.h"
#include "common/text/escape.h"
#include "common/text/protobuf.h"
#include "common/text/time.h"

namespace kms::supervisor {

int OutputPipe::open() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("make a pipe for the plugin's output");
  pipe_ = asio::posix::stream_descriptor(loop_, ends[0]);
  pipe_.non_blocking(true);
  read_next();
  return ends[1];
}

/// Waits for bytes and only then reads them: no read is in progress when the process ends and this is
/// destroyed. The handler may be queued at that moment, so it first checks that this still exists.
void OutputPipe::read_next() {
  pipe_.async_wait(asio::posix::stream_descriptor::wait_read,
                   [this, alive = std::weak_ptr<const bool>(alive_)](const asio::error_code& error) {
                     if (error || alive.expired()) return;
                     if (read_some() > 0) read_next();
                   });
}

/// 0 at the end of the pipe. An empty pipe counts as a byte.
std::size_t OutputPipe::read_some() {
  asio::error_code error;
  const std::size_t size = pipe_.read_some(asio::buffer(buffer_), error);
  if (error) return error == asio::error::would_block ? 1 : 0;
  take({buffer_.data(), size});
  return size;
}

void OutputPipe::drain() {
  // The process's own output fits into the pipe. A descendant may go on writing.
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
  on_line_(line_);
  lines_.push_back(std::exchange(line_, {}));
  if (lines_.size() > kept_lines) lines_.pop_front();
}

std::vector<std::string> OutputPipe::last_lines() const { return {lines_.begin(), lines_.end()}; }

void OutputLog::add(std::uint64_t number, pid_t pid, const std::string& text) {
  mock_kms::v1::OutputLine& line = lines_.emplace_back();
  line.set_number(number);
  *line.mutable_at() = to_timestamp(std::chrono::system_clock::now());
  line.set_pid(static_cast<std::uint32_t>(pid));
  line.set_text(text);
  bytes_ += text.size();
  while (bytes_ > kept_bytes || lines_.size() > kept_lines) {
    bytes_ -= lines_.front().text().size();
    lines_.pop_front();
  }
}

void OutputLog::read(std::uint64_t after, unsigned instance, mock_kms::v1::OutputPage& page) const {
  for (const auto& line : lines_) {
    if (line.number() <= after) continue;
    mock_kms::v1::OutputLine& shown = *page.add_lines();
    shown = line;
    shown.set_instance(instance);
    shown.set_text(utf8_text(line.text()));
  }
}

std::string plugin_line(log::Format format, unsigned instance, pid_t pid, std::string line) {
  if (format == log::Format::json) {
    return "{\"time\":\"" + rfc3339(std::chrono::system_clock::now()) +
           "\",\"instance\":" + std::to_string(instance) + ",\"pid\":" + std::to_string(pid) +
           ",\"line\":" + json_string(line) + "}";
  }
  return instance == 0 ? line : std::to_string(instance) + "| " + line;
}

}  // namespace kms::supervisor
