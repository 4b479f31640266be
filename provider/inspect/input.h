// Decodes the forms in which people copy a value out of etcd.
#pragma once

#include <string>

#include "common/error.h"

namespace kms::provider {

enum class Encoding { automatic, raw, hex, base64 };

struct InspectInput {
  std::string stored;    ///< the value's bytes
  std::string etcd_key;  ///< the line before a raw value, as `etcdctl get KEY` prints it; empty if none
};

/// Hex may be `\x6b\x38` too; white space in hex and base64 is ignored. An Error tells why `text` is not
/// in the encoding.
[[nodiscard]] Outcome<InspectInput> decode_input(const std::string& text, Encoding encoding);

}  // namespace kms::provider
