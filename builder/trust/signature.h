// Whether what was fetched is signed by somebody who may: the demand of --allowed-signers.
//
// Called on any one thread; it reads a repository and writes nothing.
#pragma once

#include <string>

#include "builder/git/libgit2.h"
#include "builder/trust/allowed_signers.h"

namespace kms::builder {

struct Signature {
  std::string object;       ///< "commit" or "tag"
  std::string principals;   ///< of the signer, as the file has them
  std::string fingerprint;  ///< of its key: "SHA256:..."
};

/// The way whose signatures are looked at.
struct SignedWay {
  git_oid tip{};         ///< what the ref stands for: a tag, or the commit
  git_oid commit{};      ///< what is used in the end
  std::string tag_name;  ///< that a tag has to give itself to count; "": any
};

/// The first good signature on the way from the tip to the commit: a tag's covers the id of what it points
/// to, and so all below. The way is gone in the objects, whatever a server said of it. Throws Error "cannot
/// trust the source: why" where there is no such signature, and where the tip does not lead to the commit.
[[nodiscard]] Signature required_signature(git_repository* objects, const SignedWay& way,
                                           const AllowedSigners& signers);

/// One object's signature. Pure but for `signers`; for garbage it is a Error.
[[nodiscard]] Outcome<Signature> check_signature(const std::string& object, std::string_view raw,
                                                 const AllowedSigners& signers);

}  // namespace kms::builder
