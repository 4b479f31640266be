// Decodes the forms in which people copy a value out of etcd.
//
//   form                                        decoded as
//   etcdctl get KEY [--print-value-only]        raw, with the key's line if there is one
//   etcdctl get KEY --hex                       \x2f\x72..., the key and the value on a line each
//   etcdctl get KEY -w json | -w fields         the one key and value, `.kvs[0]`, or a quoted value
//   hexdump -C, xxd                             the bytes of the dump, `*` lines included
//   hex, base64                                 the bytes, which may begin with the key's line
#pragma once

#include <string>

#include "common/error.h"

namespace kms::provider {

enum class Encoding { automatic, raw, hex, base64 };

struct InspectInput {
  std::string stored;    ///< the value's bytes
  std::string etcd_key;  ///< empty if the input has only the value
};

/// Exactly one value. The Error tells why `text` has none: it is in another form, etcd has no such key, it
/// has several values. It names the command to use.
[[nodiscard]] Outcome<InspectInput> decode_input(const std::string& text, Encoding encoding);

}  // namespace kms::provider
