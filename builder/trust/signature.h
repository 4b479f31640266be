// required_signature() finds a signature by an allowed signer on what was fetched, for --allowed-signers.
//
// Called on any one thread; it reads a repository and writes nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "builder/git/libgit2.h"
#include "builder/trust/allowed_signers.h"

namespace kms::builder {

struct Signature {
  std::string object;       ///< "commit" or "tag"
  std::string principals;   ///< of the signer, as the file has them
  std::string fingerprint;  ///< of the key: "SHA256:..."
};

/// The objects from a ref to the commit that it leads to.
struct SignedChain {
  git_oid tip{};         ///< the ref's own object: a tag, or the commit
  git_oid commit{};      ///< the commit that is used
  std::string tag_name;  ///< a tag counts only under this name; "": under any
};

/// The first good signature from the tip to the commit. A tag's signature covers the id of its target, and so
/// all below. The chain is read from the objects, whatever a server said. Throws Error "cannot trust the
/// source: CAUSE" if no signature is good or the tip does not lead to the commit.
[[nodiscard]] Signature required_signature(git_repository* objects, const SignedChain& chain,
                                           const AllowedSigners& signers);

/// Checks the signature of one object ("commit" or "tag") by its content.
[[nodiscard]] Outcome<Signature> check_signature(const std::string& object, std::string_view raw,
                                                 const AllowedSigners& signers);

/// A commit or a tag, split into its signature and the bytes that were signed. Source: git's
/// Documentation/gitformat-signature.txt.
struct SignedObject {
  std::string payload;    ///< the object without its signature
  std::string signature;  ///< armored, of any kind; "" if it is not signed
  std::int64_t time = 0;  ///< of the committer or tagger, seconds since 1970; 0 if there is none
};

[[nodiscard]] SignedObject split_commit(std::string_view raw);
[[nodiscard]] SignedObject split_tag(std::string_view raw);

}  // namespace kms::builder
