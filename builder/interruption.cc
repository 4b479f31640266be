#include "builder/interruption.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <algorithm>

#include "proto/program/error.h"
#include "supervisor/process/exit_status.h"

namespace kms::builder {
namespace {

bool readable(int fd, int timeout_ms) {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, timeout_ms) > 0;
}

}  // namespace

Interruption::Interruption() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  fd_.reset(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd_) throw_errno("watch for signals");
}

bool Interruption::requested() const { return readable(fd_.get(), 0); }

void Interruption::check() const {
  if (requested()) throw Interrupted{};
}

void Interruption::wait_for(Duration duration) const {
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  if (readable(fd_.get(), static_cast<int>(std::min<decltype(milliseconds)>(milliseconds, 60'000)))) {
    throw Interrupted{};
  }
}

std::string Interruption::take_name() const {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return "a signal";
  return process::signal_name(static_cast<int>(info.ssi_signo));
}

}  // namespace kms::builder
