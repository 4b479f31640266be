// The commands `status`, `encrypt` and `decrypt`: one call each to a running plugin, for people and scripts.
//
// Called by main, once per process. They work against any KMS v2 plugin. Exit codes: 1 when the plugin
// answers with an error, 2 when the input is bad, 3 when nothing answers.
#pragma once

#include <chrono>
#include <string>

#include "common/net/endpoint.h"
#include "common/text/time.h"

namespace kms::provider {

struct CallOptions {
  std::string socket = "unix:///tmp/kms.socket";
  Duration timeout = std::chrono::seconds(5);
  std::string uid = "mock-kms-provider-cli";
  std::string output = "text";  ///< of `status`: text or json
};

/// Prints version, healthz and key_id.
[[nodiscard]] int call_status(const CallOptions& options);

/// Plaintext on stdin, EncryptResponse as JSON (protobuf's mapping) on stdout.
[[nodiscard]] int call_encrypt(const CallOptions& options);

/// What call_encrypt() printed on stdin, plaintext on stdout.
[[nodiscard]] int call_decrypt(const CallOptions& options);

}  // namespace kms::provider
