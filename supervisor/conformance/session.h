// Session calls one plugin as the API server does, and survives whatever the plugin does: each call has a
// deadline, answers are limited in size and read as bytes, a lost connection is replaced.
//
// One thread, blocking. It knows the names of the methods, but not their messages.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/net/endpoint.h"
#include "common/text/time.h"

namespace kms::supervisor::conformance {

enum class Ended {
  not_asked,  ///< the method timed out before, nobody listens any more, or the check ran out of time
  answered,
  refused,     ///< the plugin answered with a gRPC error
  unreadable,  ///< the answer is too large or not a message of KMS v2
  timed_out,   ///< no answer within the call's deadline
  broken,      ///< the connection broke, or could not be opened
};

/// The meaning of a plugin's gRPC error.
enum class Refusal {
  unimplemented,
  bad_request,  ///< INVALID_ARGUMENT, NOT_FOUND or FAILED_PRECONDITION
  other,
};

/// The end of one call.
struct CallSeen {
  const char* method = "";
  Ended ended = Ended::not_asked;
  Refusal refusal = Refusal::other;  ///< of a refused call
  std::string
      cause;  ///< why there is no answer, on one line: "NOT_FOUND: no such key", "no answer within 3s"
  Duration took{0};

  [[nodiscard]] bool answered() const { return ended == Ended::answered; }
  [[nodiscard]] bool refused() const { return ended == Ended::refused; }
};

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

  /// The maximum size of an answer in bytes: gRPC's default, in the API server too.
  static constexpr int max_bytes = 4 * 1024 * 1024;

  /// Each call has `timeout`. No call is made after `until`.
  Session(Endpoint endpoint, Duration timeout, Clock::time_point until);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  /// Makes one call; if the connection is lost, once more over a new one. A method that timed out is not
  /// called again. Once nobody listens, nothing is called.
  [[nodiscard]] Reply ask(const Question& question);

  /// Makes one call over a connection of its own, with this `:authority`.
  [[nodiscard]] Reply ask_as(const std::string& authority, const Question& question);

  /// Makes all calls at once, spread over this many new connections. The replies are in the order of the
  /// questions. If one cannot be sent, none is, and the replies say why.
  [[nodiscard]] std::vector<Reply> ask_at_once(const std::vector<Question>& questions,
                                               std::size_t connections);

  /// Closes the connection; the next call opens another.
  void disconnect();

  [[nodiscard]] unsigned broken_connections() const { return broken_connections_; }
  [[nodiscard]] bool out_of_time() const { return out_of_time_; }

 private:
  class Call;
  struct Connection;
  using Connections = std::vector<std::unique_ptr<Connection>>;

  [[nodiscard]] std::optional<std::string> why_not_asked(const Question& question);
  [[nodiscard]] bool connect();
  [[nodiscard]] std::vector<Reply> send(const std::vector<Question>& questions,
                                        const Connections& connections);

  Endpoint endpoint_;
  Duration timeout_;
  Clock::time_point until_;
  Connections connection_;  ///< one or none
  std::set<std::string> timed_out_methods_;
  std::string gone_;  ///< why nobody can be reached any more
  unsigned broken_connections_ = 0;
  bool out_of_time_ = false;
};

}  // namespace kms::supervisor::conformance
