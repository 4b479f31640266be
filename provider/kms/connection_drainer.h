// ConnectionDrainer asks clients to leave a server that is going to end, so that no call is lost.
//
// gRPC 1.51's own Server::Shutdown cancels calls that arrive before the client has seen its GOAWAY. The
// drainer therefore writes a GOAWAY frame (RFC 9113, section 6.8) beside gRPC first: the client finishes its
// calls here, makes new ones on a new connection and closes this one. add() runs on the acceptor's thread,
// drain() on the draining one, the others on any.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "common/io/fd.h"
#include "common/text/time.h"

namespace kms::provider {

class ConnectionDrainer {
 public:
  /// Keeps a duplicate of the connection until its client has closed it.
  void add(int connection);

  /// Asks every client to connect again.
  void send_goaway();

  /// Closes every connection at once, including those with calls in flight.
  void cut_all();

  /// Sends GOAWAY and waits until all clients have closed their connections, for `grace` at most. If `busy`
  /// says that no call is in flight, a client that does not read is given a quarter of a second. Call it
  /// once.
  void drain(Duration grace, const std::function<bool()>& busy);

 private:
  void forget_closed(int timeout_ms);

  std::mutex mutex_;
  std::vector<UniqueFd> connections_;
};

}  // namespace kms::provider
