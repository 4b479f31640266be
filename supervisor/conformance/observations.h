// What a survey saw of a plugin: the calls that it made, and how each ended. Values; survey.h makes
// them and rules.h judges them.
#pragma once

#include <grpcpp/support/status.h>

#include <optional>
#include <string>
#include <vector>

#include "common/text/time.h"
#include "proto/kms_v2_bytes.pb.h"

namespace kms::supervisor::conformance {

enum class Ended {
  not_asked,  ///< the method was silent before, nothing listens any more, or the time was over
  answered,
  refused,     ///< the plugin answered with a gRPC error
  unreadable,  ///< an answer came that is too large, or no message of KMS v2
  silent,      ///< no answer within the call's deadline
  broken,      ///< the connection broke, or none was to be had
};

/// One call, whatever it returns.
struct CallSeen {
  const char* method = "";
  Ended ended = Ended::not_asked;
  grpc::StatusCode code = grpc::StatusCode::OK;
  std::string
      cause;  ///< why there is no answer, on one line: "NOT_FOUND: no such key", "no answer within 3s"
  Duration took{0};

  [[nodiscard]] bool answered() const { return ended == Ended::answered; }
  [[nodiscard]] bool refused() const { return ended == Ended::refused; }
};

template <class Response>
struct Call : CallSeen {
  Response response;
};

using StatusCall = Call<kms_v2_bytes::StatusResponse>;
using EncryptCall = Call<kms_v2_bytes::EncryptResponse>;
using DecryptCall = Call<kms_v2_bytes::DecryptResponse>;

/// A Decrypt of what does not belong together.
struct Tampered {
  std::string with;  ///< "a flipped bit", "an unknown key_id", ...
  DecryptCall call;
};

/// Calls sent at once, over several connections.
struct Burst {
  std::size_t connections = 0;
  std::vector<CallSeen> calls;  ///< empty: it was not sent, as such calls did not work one by one
  std::size_t wrong = 0;        ///< answers that were not the plaintext
};

/// Another replica of the same plugin.
struct Replica {
  std::string endpoint;
  StatusCall status;
  DecryptCall decrypts_ours;
  EncryptCall encrypts;
  DecryptCall we_decrypt;  ///< what it encrypted
};

/// Whom the kernel lets connect.
enum class SocketSeen {
  guarded,      ///< by the mode of the socket or of a directory above it
  open_to_all,  ///< every user of the machine
  abstract,     ///< everyone in the network namespace; the plugin may still turn them away
};

struct Observations {
  Duration timeout{0};       ///< of each call
  bool out_of_time = false;  ///< the survey's own deadline ended it
  SocketSeen socket = SocketSeen::guarded;

  std::string plaintext;  ///< 32 random bytes; that of all Encrypts
  std::vector<StatusCall> statuses;
  std::vector<EncryptCall> encrypts;          ///< [i] was sent after statuses[i] and before statuses[i + 1]
  std::optional<StatusCall> other_authority;  ///< asked where the first Status gave no answer
  EncryptCall odd_uid;
  EncryptCall empty_uid;
  DecryptCall decrypt;            ///< of encrypts[0], under its uid
  DecryptCall decrypt_other_uid;  ///< the same under another uid, on a new connection
  std::vector<Tampered> tampered;
  Burst concurrent;
  Burst decrypts;
  unsigned broken_connections = 0;
  StatusCall renewed;  ///< after every connection was closed
  std::vector<Replica> replicas;

  /// All calls to the plugin itself but the bursts', in the order in which they were made.
  [[nodiscard]] std::vector<const CallSeen*> calls() const;

  /// Whether the plugin answers, only not to the API server's `:authority`.
  [[nodiscard]] bool refuses_localhost() const { return other_authority && other_authority->answered(); }

  /// Whether `call` gave the plaintext back.
  [[nodiscard]] bool right(const DecryptCall& call) const {
    return call.answered() && call.response.plaintext() == plaintext;
  }
};

}  // namespace kms::supervisor::conformance
