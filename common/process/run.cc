#include "common/process/run.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <optional>
#include <string>

#include "common/error.h"
#include "common/io/fd.h"

namespace kms::process {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t max_line = std::size_t{64} * 1024;

/// Cuts a stream into lines.
class Lines {
 public:
  explicit Lines(const std::function<void(std::string_view)>& on_line) : on_line_(on_line) {}

  void add(std::string_view text) {
    for (const char c : text) {
      if (c == '\n' || partial_.size() == max_line) finish();
      if (c != '\n' && c != '\r') partial_ += c;
    }
  }

  void finish() {
    const std::string line = std::exchange(partial_, {});
    on_line_(line);
  }

  void end() {
    if (!partial_.empty()) finish();
  }

 private:
  const std::function<void(std::string_view)>& on_line_;
  std::string partial_;
};

/// A started process group. The destructor kills what is left of it and reaps the leader.
class Group {
 public:
  explicit Group(const Launch& launch) : leader_(spawn(launch)) {
    // By number: glibc 2.36's <sys/pidfd.h> forgets extern "C".
    pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, leader_, 0)));
    if (!pidfd_) {
      const int error = errno;
      reap();
      throw Error("cannot watch a process: " + errno_text(error), "Linux 5.3 or newer is needed");
    }
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  ~Group() {
    if (!reaped_) reap();
  }

  [[nodiscard]] int pidfd() const { return pidfd_.get(); }
  void signal(int number) const { ::kill(-leader_, number); }

  /// Kills what is left and returns how the leader ended. Throws Error if that is unknown, because somebody
  /// else has reaped the leader: an unknown end is not a success.
  ExitStatus end() {
    if (!reap()) throw_errno("read how a command ended");
    return ExitStatus::from_wait(status_);
  }

 private:
  /// The leader is reaped last, so that its number is not reused before.
  bool reap() {
    signal(SIGKILL);
    reaped_ = true;
    while (::waitpid(leader_, &status_, 0) < 0) {
      if (errno != EINTR) return false;
    }
    return true;
  }

  pid_t leader_;
  UniqueFd pidfd_;
  int status_ = 0;
  bool reaped_ = false;
};

/// Reads what is there now, at most what the pipe holds, since a writer may never pause. False at the end of
/// the stream.
bool drain(int fd, Lines& lines) {
  const int capacity = ::fcntl(fd, F_GETPIPE_SZ);
  std::size_t left = capacity > 0 ? static_cast<std::size_t>(capacity) : 65536;
  std::array<char, 16384> buffer{};
  while (left > 0) {
    const ssize_t n = ::read(fd, buffer.data(), std::min(buffer.size(), left));
    if (n > 0) {
      lines.add({buffer.data(), static_cast<std::size_t>(n)});
      left -= static_cast<std::size_t>(n);
    } else if (n == 0) {
      return false;
    } else if (errno == EAGAIN) {
      return true;
    } else if (errno != EINTR) {
      throw_errno("read a command's output");
    }
  }
  return true;
}

int poll_timeout(Clock::time_point until) {
  if (until == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
  return static_cast<int>(std::clamp<decltype(left)>(left, 0, 60'000));
}

Clock::time_point after(Duration duration) {
  const auto now = Clock::now();
  return duration >= Clock::time_point::max() - now ? Clock::time_point::max() : now + duration;
}

/// The loop of one run: output, the leader's end, the deadline and requests to stop.
class Run {
 public:
  Run(const Group& group, int output, const RunLimits& limits, Lines& lines)
      : group_(group), output_(output), limits_(limits), lines_(lines), until_(after(limits.deadline)) {}

  /// Returns once the leader has ended, with the reason to end it, if there was one.
  std::optional<RunEnd> wait() {
    while (!step()) {
    }
    return cause_;
  }

 private:
  bool step() {
    std::array<pollfd, 3> fds{
        {{output_, POLLIN, 0}, {group_.pidfd(), POLLIN, 0}, {cause_ ? -1 : limits_.stop_fd, POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), poll_timeout(until_)) < 0 && errno != EINTR) {
      throw_errno("wait for a command");
    }
    if (fds[0].revents != 0 && !drain(output_, lines_)) output_ = -1;
    if (fds[1].revents != 0) return true;
    if (fds[2].revents != 0) end_with(Stopped{});
    if (Clock::now() >= until_) cause_ ? kill() : end_with(TimedOut{});
    return false;
  }

  void end_with(RunEnd cause) {
    cause_ = cause;
    group_.signal(SIGTERM);
    until_ = after(limits_.grace);
  }

  void kill() {
    group_.signal(SIGKILL);
    until_ = Clock::time_point::max();
  }

  const Group& group_;
  int output_;
  const RunLimits& limits_;
  Lines& lines_;
  Clock::time_point until_;
  std::optional<RunEnd> cause_;
};

}  // namespace

RunEnd run(Launch launch, const RunLimits& limits, const std::function<void(std::string_view)>& on_line) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) throw_errno("make a pipe");
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  set_non_blocking(reader.get());
  launch.fds.resize(std::max<std::size_t>(launch.fds.size(), 3), -1);
  launch.fds[1] = launch.fds[2] = writer.get();
  launch.new_session = true;
  Group group(launch);
  writer.reset();
  Lines lines(on_line);
  const std::optional<RunEnd> cause = Run(group, reader.get(), limits, lines).wait();
  const ExitStatus status = group.end();
  drain(reader.get(), lines);
  lines.end();
  return cause.value_or(status);
}

}  // namespace kms::process
