// survey() makes the calls that the rules judge, and records how they end.
//
// It changes nothing in the plugin: it calls Status, Encrypt and Decrypt only, and sends no signal.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "proto/kms_v2_bytes.pb.h"
#include "supervisor/conformance/session.h"

namespace kms::supervisor::conformance {

template <class Response>
struct Call : CallSeen {
  Response response;
};

using StatusCall = Call<kms_v2_bytes::StatusResponse>;
using EncryptCall = Call<kms_v2_bytes::EncryptResponse>;
using DecryptCall = Call<kms_v2_bytes::DecryptResponse>;

/// A Decrypt of a request that was changed after Encrypt.
struct Tampered {
  std::string change;  ///< "a flipped bit", "an unknown key_id", ...
  DecryptCall call;
};

/// Calls sent at once, over several connections.
struct Burst {
  std::size_t connections = 0;
  std::vector<CallSeen> calls;  ///< empty: not sent, since single calls failed already
  std::size_t wrong = 0;        ///< answers with another plaintext
};

/// Another replica of the same plugin.
struct Replica {
  std::string endpoint;
  StatusCall status;
  DecryptCall decrypts_ours;
  EncryptCall encrypts;
  DecryptCall we_decrypt;  ///< its ciphertext
};

/// The users who may connect.
enum class SocketSeen {
  guarded,      ///< by the mode of the socket or of a directory above it
  open_to_all,  ///< every user of the machine
  abstract,     ///< everyone in the network namespace, unless the plugin refuses them
};

struct Observations {
  Duration timeout{0};       ///< of each call
  bool out_of_time = false;  ///< the survey's own deadline ended it
  SocketSeen socket = SocketSeen::guarded;

  std::string plaintext;  ///< of all Encrypts; 32 random bytes
  std::vector<StatusCall> statuses;
  std::vector<EncryptCall> encrypts;          ///< [i] was sent after statuses[i] and before statuses[i + 1]
  std::optional<StatusCall> other_authority;  ///< sent if the first Status had no answer
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

  /// All calls to the plugin in their order, without the bursts.
  [[nodiscard]] std::vector<const CallSeen*> calls() const;

  /// True if the plugin answers, but not to the API server's `:authority`.
  [[nodiscard]] bool refuses_localhost() const { return other_authority && other_authority->answered(); }

  /// True if `call` returned the plaintext.
  [[nodiscard]] bool right(const DecryptCall& call) const {
    return call.answered() && call.response.plaintext() == plaintext;
  }
};

struct SurveyLimits {
  Duration timeout = std::chrono::seconds(3);    ///< of each call; the API server's default
  Duration deadline = std::chrono::seconds(60);  ///< of the whole survey
};

/// Blocks for at most `limits.deadline`. Also checks whether `replicas` share keys with `endpoint`.
[[nodiscard]] Observations survey(const Endpoint& endpoint, const std::vector<Endpoint>& replicas,
                                  const SurveyLimits& limits);

}  // namespace kms::supervisor::conformance
