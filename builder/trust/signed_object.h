// A commit or a tag of git taken apart: what was signed, and the signature.
//
// Pure; safe from any thread. Where the parts are: git's Documentation/gitformat-signature.txt.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kms::builder {

struct SignedObject {
  std::string payload;    ///< the object without its signature
  std::string signature;  ///< armored, of whatever kind; "" where it is not signed
  std::int64_t time = 0;  ///< of the committer or tagger, seconds since 1970; 0 where there is none
};

/// `raw` is a commit's content: the signature is its header "gpgsig".
[[nodiscard]] SignedObject split_commit(std::string_view raw);

/// `raw` is a tag's content: the signature is at its end.
[[nodiscard]] SignedObject split_tag(std::string_view raw);

}  // namespace kms::builder
