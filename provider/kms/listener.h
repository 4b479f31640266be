// ConnectionAcceptor accepts connections on a listening socket that someone else owns, on a thread of its
// own.
//
// Made and stopped by one thread. Make it only when accepted connections can be answered at once: a client
// that is accepted by a process which dies before answering waits a second, one in the kernel's queue does
// not. It never reads, writes or closes the listening socket.
#pragma once

#include <functional>
#include <thread>

#include "common/io/fd.h"

namespace kms::provider {

class ConnectionAcceptor {
 public:
  using Take = std::function<void(UniqueFd connection)>;

  /// `listening_fd` is non-blocking and outlives this; `take` runs on the acceptor's thread and does not
  /// throw.
  ConnectionAcceptor(int listening_fd, Take take);
  ConnectionAcceptor(const ConnectionAcceptor&) = delete;
  ConnectionAcceptor& operator=(const ConnectionAcceptor&) = delete;
  ~ConnectionAcceptor() { stop(); }

  /// Returns when `take` runs no more; what is queued stays in the kernel. May be called again.
  void stop();

 private:
  void run();
  void accept_all();

  int listening_fd_;
  Take take_;
  UniqueFd stop_event_;
  std::thread thread_;
};

}  // namespace kms::provider
