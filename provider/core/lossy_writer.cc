#include "provider/core/lossy_writer.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace kms::provider {
namespace {

constexpr int max_reader_wait_ms = 20;

}  // namespace

/// A write of PIPE_BUF bytes does not block after this (pipe(7)).
bool LossyWriter::writable(int timeout_ms) const {
  pollfd watched{fd_, POLLOUT, 0};
  return ::poll(&watched, 1, timeout_ms) == 1;
}

/// False if nobody reads. A reader that is gone and a full disk take everything.
bool LossyWriter::write_some(std::string_view& rest) {
  if (!writable(stalled_ ? 0 : max_reader_wait_ms)) return false;
  const ssize_t written = ::write(fd_, rest.data(), std::min<std::size_t>(rest.size(), PIPE_BUF));
  if (written < 0 && errno == EAGAIN) return false;
  if (written < 0 && errno == EINTR) return true;
  rest.remove_prefix(written < 0 ? rest.size() : static_cast<std::size_t>(written));
  return true;
}

/// The end of a cut line, and the number of the dropped ones.
std::string LossyWriter::before_next() const {
  std::string text = cut_ ? "\n" : "";
  if (dropped_ > 0)
    text += program_ + ": " + std::to_string(dropped_) + " lines were dropped: nobody read them\n";
  return text;
}

void LossyWriter::write(std::string_view line) {
  const std::string text = before_next() + std::string(line) + '\n';
  std::string_view rest = text;
  do {
    stalled_ = !write_some(rest);
  } while (!stalled_ && !rest.empty());
  if (rest.size() < text.size()) {
    cut_ = stalled_;
    dropped_ = stalled_ ? 1 : 0;
  } else {
    ++dropped_;
  }
}

}  // namespace kms::provider
