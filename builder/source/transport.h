// Transport carries bytes between a fetch and git-upload-pack on a server.
//
// Owned and used by one thread. It knows of the protocol only where the advertisement ends. http and
// https go through libcurl, ssh through libgit2, git:// through a Socket.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "builder/source/fetch.h"

namespace kms::builder {

class Transport {
 public:
  virtual ~Transport() = default;

  /// Connects, again if it was connected, and returns the server's advertisement. Throws Error "cannot reach
  /// ...".
  virtual std::string connect() = 0;

  /// True if each request stands alone (http). Otherwise requests share one connection, and only the content
  /// of an answer says where it ends.
  [[nodiscard]] virtual bool stateless() const = 0;

  /// Sends one whole request. Throws Error.
  virtual void send(std::string_view request) = 0;

  /// Reads a part of the answer, 0 bytes at its end. Throws Error.
  virtual std::size_t receive(char* into, std::size_t size) = 0;
};

/// For the request's URL. `meter` outlives the transport.
[[nodiscard]] std::unique_ptr<Transport> make_transport(const FetchRequest& request, FetchMeter& meter);

}  // namespace kms::builder
