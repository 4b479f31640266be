// Which running provider a command is for, as the command line names it.
#pragma once

#include <chrono>
#include <string>

#include "common/text/time.h"

namespace kms::provider {

struct ControlOptions {
  std::string socket = "unix:///tmp/kms.socket";  ///< its KMS socket
  std::string control_socket;                     ///< empty: the one beside `socket`
  Duration timeout = std::chrono::seconds(5);
  std::string output = "text";  ///< text or json
};

}  // namespace kms::provider
