// ListeningSocket is the socket on which the provider accepts: one that the supervisor handed down, or its
// own. OwnSocket binds a socket again when its path is removed. ConnectionAcceptor accepts connections.
#pragma once

#include <poll.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/io/fd.h"
#include "common/net/handed_down.h"
#include "common/net/timed_action.h"
#include "common/net/unix_listener.h"
#include "common/text/time.h"

namespace kms::provider {

/// Made by one thread; only the acceptor's thread uses it while an acceptor runs.
class OwnSocket {
 public:
  OwnSocket(UnixListener listener, const SocketAccess& access)
      : listener_(std::make_unique<UnixListener>(std::move(listener))), access_(access) {}

  [[nodiscard]] int fd() const { return listener_->fd(); }

  /// Binds the socket again if its path was removed, and logs that. Returns the descriptor to accept on.
  int restore();

 private:
  std::unique_ptr<UnixListener> listener_;
  SocketAccess access_;
  bool warned_ = false;
};

/// Made and used by main's thread.
class ListeningSocket {
 public:
  /// Takes the socket that LISTEN_FDS announces, else claims `endpoint`. Throws Error.
  ListeningSocket(const Endpoint& endpoint, const SocketAccess& access);

  [[nodiscard]] int fd() const { return own_ ? own_->fd() : handed_down_->listening.get(); }

  /// True if the supervisor owns it; another process of this instance may then exist at the same time.
  [[nodiscard]] bool handed_down() const { return handed_down_.has_value(); }

  /// The connection on which only the supervisor makes calls; empty if there is none, and after the first
  /// call.
  [[nodiscard]] UniqueFd take_probe();

  /// Waits until this process may accept: from the start on its own socket, else when the supervisor says so.
  /// False if `stop_fd` became readable, or the supervisor ended, before that.
  [[nodiscard]] bool wait_until_active(int stop_fd) const;

  /// "handed down by the supervisor", or the mode of its own socket: "mode 0600".
  [[nodiscard]] const std::string& description() const { return description_; }

  /// Its own socket; nullptr if it was handed down, since the supervisor restores that one.
  [[nodiscard]] OwnSocket* own() { return own_ ? &*own_ : nullptr; }

  /// Closes the socket, and removes the path of its own.
  void release();

 private:
  std::optional<HandedDown> handed_down_;
  std::optional<OwnSocket> own_;
  std::string description_;
};

/// Accepts on a thread of its own, and passes on the connections that speak. It never reads, writes or closes
/// the listening socket. Make it only when accepted connections can be answered at once: a client of a
/// process that dies after accepting waits a second, a client in the kernel's queue does not. Made and
/// stopped by one thread.
class ConnectionAcceptor {
 public:
  using Admit = std::function<bool(int connection)>;
  using Take = std::function<void(UniqueFd connection)>;

  /// `listening_fd` is non-blocking and outlives this object. `admit` and `take` run on the acceptor's thread
  /// and do not throw. A connection that `admit` refuses is closed, and so is one that sends nothing for
  /// `idle_timeout`, or whose place another one needs. At the stop, `take` gets those that are silent too:
  /// they may speak yet. With `own`, the acceptor checks the socket's path every second.
  ConnectionAcceptor(int listening_fd, Duration idle_timeout, Admit admit, Take take,
                     OwnSocket* own = nullptr);
  ConnectionAcceptor(const ConnectionAcceptor&) = delete;
  ConnectionAcceptor& operator=(const ConnectionAcceptor&) = delete;
  ~ConnectionAcceptor() { stop(); }

  /// Returns when `take` no longer runs; queued connections stay in the kernel. May be called again.
  void stop();

 private:
  /// A connection on which nothing has come yet. gRPC's own timeout for it waits for a time of the wall
  /// clock, which may be set back.
  struct Silent {
    UniqueFd connection;
    SteadyClock::time_point until;
  };

  void run();
  [[nodiscard]] bool wait();
  [[nodiscard]] int max_wait_ms() const;
  void pass_on(const std::vector<pollfd>& silent);
  void accept_some();

  int listening_fd_;
  Duration idle_timeout_;
  Admit admit_;
  Take take_;
  OwnSocket* own_;
  std::vector<Silent> silent_;  ///< oldest first; used on the thread alone
  UniqueFd stop_event_;
  std::thread thread_;
};

}  // namespace kms::provider
