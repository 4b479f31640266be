// The forms in which a value comes out of etcd, made into its bytes. Pure functions, safe from any thread.
#pragma once

#include <string>

#include "common/error.h"

namespace kms::provider {

enum class Encoding { automatic, raw, hex, base64 };

struct InspectInput {
  std::string stored;  ///< the value's bytes
  std::string
      etcd_key;  ///< what stood on a line before a raw value, as `etcdctl get KEY` prints it; or empty
};

/// Hex may be `\x6b\x38`, too; white space in hex and base64 does not count. A Error says why `text` is not
/// of the encoding.
[[nodiscard]] Outcome<InspectInput> decode_input(const std::string& text, Encoding encoding);

}  // namespace kms::provider
