// Wire carries bytes between a fetch and git-upload-pack on a server, whatever lies between.
//
// Owned and used by one thread. It knows no protocol beyond where the greeting ends. Implementations:
// libgit2's subtransports (libgit_wire.h) and git's own protocol (git_wire.h).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kms::builder {

class Wire {
 public:
  virtual ~Wire() = default;

  /// Connects, anew where it was connected, and returns the server's greeting. Throws Error "cannot reach
  /// ...".
  virtual std::string connect() = 0;

  /// Whether each request stands alone (http). Otherwise they share one connection, and what was read ends by
  /// what it says, not by an end of the stream.
  [[nodiscard]] virtual bool stateless() const = 0;

  /// Sends one whole request. Throws Error.
  virtual void send(std::string_view request) = 0;

  /// Some bytes of the answer, 0 at its end. Throws Error.
  virtual std::size_t receive(char* into, std::size_t size) = 0;
};

}  // namespace kms::builder
