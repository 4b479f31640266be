// Farewell sends the connections of a server that is going to end away, so that no call is lost on them.
//
// gRPC 1.51's own Server::Shutdown cancels calls that reach it before the client has seen its GOAWAY. So a
// GOAWAY frame (RFC 9113, section 6.8) is written beside gRPC first: the client finishes its calls here,
// makes new ones on a new connection, and closes this one. add() is called on the acceptor's thread, say() on
// the draining one, the others on any.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "common/io/fd.h"
#include "common/text/time.h"

namespace kms::provider {

class Farewell {
 public:
  /// Remembers a connection (by a duplicate) until its client has closed it.
  void add(int connection);

  /// Tells every client to connect anew; it finishes its calls on the old connection and closes that.
  void send_goaway();

  /// Closes every connection at once, calls in flight or not.
  void cut_all();

  /// Tells every client to go and waits until all have closed their connections, for `grace` at most. Clients
  /// that have no call and do not read (`busy` says no) are waited for a quarter of a second. Once.
  void say(Duration grace, const std::function<bool()>& busy);

 private:
  void forget_closed(int timeout_ms);

  std::mutex mutex_;
  std::vector<UniqueFd> connections_;
};

}  // namespace kms::provider
