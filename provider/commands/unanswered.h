// How a client's command ends without what it was asked for. Thrown by the commands, caught in main.
#pragma once

#include <string>

namespace kms::provider {

/// The exit code, and the line for it.
struct Unanswered {
  int code;
  std::string line;
};

}  // namespace kms::provider
