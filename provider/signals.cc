#include "provider/signals.h"

#include <poll.h>
#include <sys/signalfd.h>

#include <csignal>
#include <cstring>

#include "proto/program/error.h"

namespace kms::provider {

Signals::Signals(std::initializer_list<int> numbers) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : numbers) sigaddset(&set, number);
  if (const int error = ::pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
    throw Error("cannot block signals: " + errno_text(error));
  }
  fd_.reset(::signalfd(-1, &set, SFD_CLOEXEC));
  if (!fd_) throw_errno("make a signal descriptor");
}

bool Signals::waiting() const {
  pollfd watched{fd_.get(), POLLIN, 0};
  return ::poll(&watched, 1, 0) == 1;
}

std::string Signals::take() const {
  signalfd_siginfo info{};
  while (::read(fd_.get(), &info, sizeof info) < 0) {
    if (errno != EINTR) throw_errno("read a signal");
  }
  return std::string("SIG") + ::sigabbrev_np(static_cast<int>(info.ssi_signo));
}

}  // namespace kms::provider
