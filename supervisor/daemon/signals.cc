#include "supervisor/daemon/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>

#include "common/error.h"

namespace kms::supervisor {
namespace {

sigset_t watched() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD}) ::sigaddset(&set, signal);
  return set;
}

int open_signalfd() {
  const sigset_t set = watched();
  const int fd = ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd < 0) throw_errno("watch signals");
  return fd;
}

}  // namespace

void block_signals() {
  const sigset_t set = watched();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

SignalSource::SignalSource(asio::io_context& loop, std::function<void(int)> sink)
    : descriptor_(loop, open_signalfd()), sink_(std::move(sink)) {
  wait();
}

void SignalSource::wait() {
  descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
    if (error) return;
    signalfd_siginfo info{};
    while (::read(descriptor_.native_handle(), &info, sizeof info) == sizeof info) {
      sink_(static_cast<int>(info.ssi_signo));
    }
    wait();
  });
}

}  // namespace kms::supervisor
