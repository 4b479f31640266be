#include "common/process/signals.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cctype>
#include <chrono>
#include <csignal>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

#include "common/error.h"
#include "common/text/nearest.h"

namespace kms::process {

namespace {

constexpr auto stuck_after = std::chrono::seconds(3);
constexpr auto end_timeout = std::chrono::seconds(5);
constexpr int signals_end = 32;  // the real-time signals after it have no names

std::atomic<int> end_event = -1;
std::atomic<int> end_code = 0;

/// True if a blocked SIGTERM or SIGINT of the whole process waits to be taken.
bool stop_is_pending() {
  sigset_t pending;
  return ::sigpending(&pending) == 0 &&
         (::sigismember(&pending, SIGTERM) == 1 || ::sigismember(&pending, SIGINT) == 1);
}

/// "SIGKILL" for "SIGKILL", "KILL", "sigkill" and "kill".
std::string full_signal_name(std::string name) {
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name.starts_with("SIG") ? name : "SIG" + name;
}

[[noreturn]] void end(int code) {
  constexpr std::string_view line = "the program is stuck and ends now\n";
  pollfd writable{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&writable, 1, 0) == 1) (void)!::write(STDERR_FILENO, line.data(), line.size());
  ::_exit(code);
}

[[noreturn]] void watch_for_end(int signal_fd) {
  for (std::array watched{pollfd{signal_fd, POLLIN, 0}, pollfd{end_event, POLLIN, 0}};;) {
    ::poll(watched.data(), watched.size(), -1);
    if (watched[1].revents != 0) {
      std::this_thread::sleep_for(end_timeout);
      end(end_code);
    }
    const bool pending = stop_is_pending();
    std::this_thread::sleep_for(pending ? stuck_after : std::chrono::milliseconds(100));
    if (pending && stop_is_pending()) end(1);
  }
}

}  // namespace

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name == nullptr ? "signal " + std::to_string(signal) : "SIG" + std::string(name);
}

std::optional<int> signal_number(const std::string& name) {
  const std::string full = full_signal_name(name);
  for (int number = 1; number < signals_end; ++number) {
    if (signal_name(number) == full) return number;
  }
  return std::nullopt;
}

std::string did_you_mean_signal(const std::string& name) {
  std::vector<std::string> names;
  for (int number = 1; number < signals_end; ++number) names.push_back(signal_name(number));
  return did_you_mean(full_signal_name(name), names);
}

SignalFd::SignalFd(std::initializer_list<int> signals) {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : signals) ::sigaddset(&set, signal);
  if (const int error = ::pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
    throw Error("cannot block signals: " + errno_text(error));
  }
  fd_.reset(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!fd_) throw_errno("watch for signals");
}

bool SignalFd::pending() const {
  pollfd watched{fd_.get(), POLLIN, 0};
  return ::poll(&watched, 1, 0) == 1;
}

int SignalFd::take() const {
  signalfd_siginfo info{};
  const bool taken = ::read(fd_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info);
  return taken ? static_cast<int>(info.ssi_signo) : 0;
}

void end_if_stuck(const SignalFd& signals) {
  const int signal_fd =
      ::fcntl(signals.fd(), F_DUPFD_CLOEXEC, 0);  // `signals` may be gone before the program ends
  end_event = ::eventfd(0, EFD_CLOEXEC);
  if (signal_fd < 0 || end_event < 0) throw_errno("watch for signals");
  std::thread(watch_for_end, signal_fd).detach();
}

void end_soon(int code) {
  end_code = code;
  ::eventfd_write(end_event, 1);
}

}  // namespace kms::process
