#include "common/process/signals.h"

#include <poll.h>
#include <sys/signalfd.h>

#include <csignal>
#include <cstring>

#include "common/error.h"

namespace kms::process {

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name == nullptr ? "signal " + std::to_string(signal) : "SIG" + std::string(name);
}

std::optional<int> signal_number(const std::string& name) {
  const std::string bare = name.starts_with("SIG") ? name.substr(3) : name;
  for (int number = 1; number < 32; ++number) {
    const char* abbreviation = ::sigabbrev_np(number);
    if (abbreviation != nullptr && bare == abbreviation) return number;
  }
  return std::nullopt;
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

}  // namespace kms::process
