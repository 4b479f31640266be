// Session calls one plugin as the API server does, and outlives whatever the plugin does: every call has a
// deadline, answers are limited in size and read as bytes, a lost connection is made anew.
//
// One thread, blocking. It knows the methods' names and no message of theirs.
#pragma once

#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/net/endpoint.h"
#include "supervisor/conformance/observations.h"

namespace kms::supervisor::conformance {

/// A method's name, such as "Status", and the bytes of its request.
struct Question {
  const char* method;
  std::string request;
};

struct Reply : CallSeen {
  std::string bytes;
};

class Session {
 public:
  using Clock = std::chrono::steady_clock;

  /// The largest answer that is read, in bytes: what gRPC takes by default, in the API server too.
  static constexpr int max_bytes = 4 * 1024 * 1024;

  /// Each call has `timeout`; none is made after `until`.
  Session(Endpoint endpoint, Duration timeout, Clock::time_point until);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  /// One call. Where the connection was lost, once more over a new one. A method that was silent before is
  /// not asked again, nor anything once nobody listens.
  [[nodiscard]] Reply ask(const Question& question);

  /// One call over a connection of its own, with this `:authority`.
  [[nodiscard]] Reply ask_as(const std::string& authority, const Question& question);

  /// All at once over so many new connections in turn; the replies are in the questions' order. Where one
  /// cannot be sent none is, and the replies say why.
  [[nodiscard]] std::vector<Reply> ask_at_once(const std::vector<Question>& questions,
                                               std::size_t connections);

  /// Ends the connection; the next call makes another.
  void disconnect();

  [[nodiscard]] unsigned broken_connections() const { return broken_connections_; }
  [[nodiscard]] bool out_of_time() const { return out_of_time_; }

 private:
  using Stubs = std::vector<std::unique_ptr<grpc::GenericStub>>;

  [[nodiscard]] std::optional<std::string> why_not_asked(const Question& question);
  [[nodiscard]] bool connect();
  [[nodiscard]] std::vector<Reply> send(const std::vector<Question>& questions, const Stubs& stubs);

  Endpoint endpoint_;
  Duration timeout_;
  Clock::time_point until_;
  Stubs connection_;  ///< one or none
  std::set<std::string> silent_;
  std::string gone_;  ///< why nobody can be reached any more
  unsigned broken_connections_ = 0;
  bool out_of_time_ = false;
};

}  // namespace kms::supervisor::conformance
