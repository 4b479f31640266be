// Whether what was fetched is signed by somebody who may: the demand of --allowed-signers.
//
// Called on any one thread; it reads a repository and writes nothing.
#pragma once

#include <string>

#include "builder/fetch/git.h"
#include "builder/signature/allowed_signers.h"

namespace kms::builder {

struct Signature {
  std::string object;       ///< "commit" or "tag"
  std::string principals;   ///< of the signer, as the file has them
  std::string fingerprint;  ///< of its key: "SHA256:..."
};

/// The first good signature on the way from `tip` (a tag, or the commit) to the commit: a tag's covers the id
/// of what it points to, and so all below. Throws Error "cannot trust the source: why" where there is none.
[[nodiscard]] Signature required_signature(git_repository* objects, const git_oid& tip,
                                           const AllowedSigners& signers);

/// One object's signature. Pure but for `signers`; for garbage it is a Failure.
[[nodiscard]] Outcome<Signature> check_signature(const std::string& object, std::string_view raw,
                                                 const AllowedSigners& signers);

}  // namespace kms::builder
