// fetch() brings one commit's trees into reach: from a local repository by opening it, from a server by
// asking for the wanted paths alone. fetch_more() brings further paths of the same commit, for who learns
// from the first ones what else is needed:
//
//   Fetched fetched = fetch(request, interruption, draw);
//   while (auto paths = what_is_needed_besides(fetched)) fetch_more(request, paths, fetched, ...);
//   check_out(... all paths together ...);
//
// Called on one thread, which draws the progress and watches for silence while a second one talks to the
// server. What may not be interruptible (a name look-up, ssh) is left alone with its thread. It never writes
// outside `scratch`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "builder/git/libgit2.h"
#include "builder/git/limits.h"
#include "builder/run/interruption.h"
#include "builder/signature/required_signature.h"
#include "builder/source/login.h"
#include "builder/source/meter.h"
#include "builder/source/ref_name.h"
#include "builder/source/repository_url.h"
#include "common/text/time.h"

namespace kms::builder {

/// What is done about failures that may pass by themselves: failure_kinds.h says which those are.
struct Persistence {
  unsigned retries = 0;                          ///< after the first try
  Duration deadline = std::chrono::minutes(15);  ///< for everything together, the waiting included
};

struct FetchRequest {
  RepositoryUrl repository;
  RefName ref;
  std::filesystem::path scratch;                 ///< a directory that exists, for a temporary bare repository
  std::vector<std::string> paths{};              ///< what is wanted of the commit's tree; none: all of it
  Duration patience = std::chrono::seconds(60);  ///< how long a server may say nothing
  Login login{};
  Limits limits{};
  std::string pin{};  ///< 40 hex digits: no other commit may be used; "": any
  Persistence persistence{};
  std::shared_ptr<const AllowedSigners> signers{};  ///< one of them has to have signed it; null: nobody
  std::set<std::string> enough{};  ///< commits: where the ref leads to one, nothing more is fetched
};

struct Fetched {
  git::Repository objects;  ///< where the commit and its trees can be read; null where that was enough
  git_oid commit{};
  git_oid tip{};                         ///< what the ref itself stands for: an annotated tag, or the commit
  std::string strategy;                  ///< how it was done: "local", "v2, whole commit", ...
  std::uint64_t bytes = 0;               ///< received from the server: see FetchMeter
  std::uint32_t requests = 0;            ///< sent to the server, the greeting included
  std::optional<Signature> signature{};  ///< where one was demanded
};

using DrawProgress = std::function<void(const FetchMeter&)>;

/// Throws Interrupted, or Error "cannot fetch ...: cause; hint" where the server says nothing for the
/// request's patience, where trying again did not help and where it cannot help, or "cannot
/// trust ..." where a demanded signature is missing. `draw` is called about ten
/// times a second while a server is talked to. What a failed try has fetched is not fetched again, and the
/// ref is resolved once.
[[nodiscard]] Fetched fetch(const FetchRequest& request, const Interruption& interruption,
                            const DrawProgress& draw);

/// Adds `paths` of the commit to `fetched`, which came from the same request and scratch directory: one
/// request to connect anew and one or a few for what is missing; none where nothing is. Its bytes and
/// requests grow. A path that the commit does not hold adds nothing: check_out() says so. Throws as fetch()
/// does.
void fetch_more(const FetchRequest& request, const std::vector<std::string>& paths, Fetched& fetched,
                const Interruption& interruption, const DrawProgress& draw);

}  // namespace kms::builder
