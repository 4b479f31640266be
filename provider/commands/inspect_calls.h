// The command `inspect`: what is in etcd, and under which key. Called by main, once per process.
#pragma once

#include <chrono>
#include <string>

#include "common/text/time.h"
#include "provider/inspect/input.h"

namespace kms::provider {

struct InspectOptions {
  std::string file;  ///< empty: standard input
  Encoding encoding = Encoding::automatic;
  std::string etcd_key;   ///< empty: the one before the value, if any
  std::string seed_file;  ///< counts more than `socket`; empty, and no socket: the published test seed
  std::string socket;     ///< of a plugin that decrypts the DEK source
  Duration timeout = std::chrono::seconds(5);
  std::string expected_key_id;  ///< empty: any
  bool header_only = false;
  bool reveal = false;
  std::string output = "text";  ///< text or json
};

/// Prints what is known of the value. Exit codes: 0 it is what was expected and opens; 1 it is not, or does
/// not. Throws Unanswered: 2 where the input is bad, 3 where no plugin answers.
[[nodiscard]] int call_inspect(const InspectOptions& options);

}  // namespace kms::provider
