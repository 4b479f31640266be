// fetch() makes the objects of one commit readable: it opens a local repository, or asks a server for the
// wanted paths alone. fetch_more() adds paths of the same commit, if the first ones show what else is needed:
//
//   Fetched fetched = fetch(request, interruption, progress);
//   while (auto paths = missing_paths(fetched)) fetch_more(request, paths, fetched, ...);
//   check_out(... all paths together ...);
//
// The calling thread draws the progress and watches the time while a second thread talks to the server. If a
// call of that thread cannot be interrupted (a name look-up, ssh), the thread is abandoned. Nothing is
// written outside `scratch`.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "builder/git/libgit2.h"
#include "builder/git/limits.h"
#include "builder/run/interruption.h"
#include "builder/run/progress.h"
#include "builder/source/credentials.h"
#include "builder/source/ref_name.h"
#include "builder/source/repository_url.h"
#include "builder/trust/signature.h"
#include "common/text/time.h"

namespace kms::builder {

/// The retries of transient failures; diagnosis.h says which failures are transient.
struct RetryPolicy {
  unsigned retries = 0;                          ///< after the first try
  Duration deadline = std::chrono::minutes(15);  ///< for all tries and waits together
};

struct FetchRequest {
  RepositoryUrl repository;
  RefName ref;
  std::filesystem::path scratch;                     ///< an existing directory, for packs
  std::vector<std::string> paths{};                  ///< of the commit's tree; none: all of it
  Duration idle_timeout = std::chrono::seconds(60);  ///< a server may say nothing for this long
  Login login{};
  Limits limits{};
  std::string pin{};  ///< 40 hex digits: no other commit may be used; "": any
  RetryPolicy retry{};
  std::shared_ptr<const AllowedSigners> signers{};  ///< one of them must have signed the commit; null: nobody
  std::set<std::string> known_commits{};            ///< if the ref leads to one, nothing more is fetched
};

struct Fetched {
  git::Repository objects;  ///< holds the commit and its trees; null for one of FetchRequest::known_commits
  git_oid commit{};
  git_oid tip{};                         ///< the ref's own object: an annotated tag, or the commit
  std::string strategy;                  ///< "local", "v2, whole commit", ...
  std::uint64_t bytes = 0;               ///< received from the server: see FetchMeter
  std::uint32_t requests = 0;            ///< sent to the server, those for the advertisement included
  std::optional<Signature> signature{};  ///< if one was demanded
  std::vector<std::filesystem::path> directories{};  ///< of the packs, if they came from a server
};

/// The progress of a fetch. The fetching thread writes it, the watching thread reads it.
struct FetchMeter {
  std::atomic<std::uint32_t> objects{0};
  std::atomic<std::uint32_t> objects_total{0};
  std::atomic<std::uint64_t> bytes{
      0};  ///< from the server: all bytes over http and git, the payload over ssh
  std::atomic<std::uint32_t> requests{0};
  std::atomic<std::uint64_t> activity{0};    ///< grows with every sign of life of the server
  std::atomic<std::int64_t> retry_after{0};  ///< seconds that the latest HTTP answer asks to wait
  std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max();  ///< used by the fetching thread only
  std::atomic<bool> cancelled{false};  ///< set by the watching thread: stop as soon as possible
};

/// Draws the progress while it talks to a server, and logs the result. A further try neither fetches again
/// what a failed one has fetched nor resolves the ref again.
///
/// Throws Interrupted; Error "cannot fetch ...: cause; next step" if no further try can help; Error "cannot
/// trust ..." if a demanded signature is missing.
[[nodiscard]] Fetched fetch(const FetchRequest& request, const Interruption& interruption,
                            Progress& progress);

/// Adds `paths` of the commit to `fetched`, which came from the same request and scratch directory. It takes
/// one request to connect and one or a few for the missing objects, none if none is missing. Its bytes and
/// requests grow. A path that the commit does not hold adds nothing: check_out() reports it. Throws like
/// fetch().
void fetch_more(const FetchRequest& request, const std::vector<std::string>& paths, Fetched& fetched,
                const Interruption& interruption, Progress& progress);

/// Fills the source fields of `info`, which are known without fetching.
void record_request(const FetchRequest& request, const std::string& commit, mock_kms::v1::BuildInfo& info);

/// Fills the transfer and signature fields of `info`.
void record_transfer(const Fetched& fetched, mock_kms::v1::BuildInfo& info);

/// The commit that an object of the repository leads to: a ref or an id may stand for a tag. Throws Error.
[[nodiscard]] git_oid peel_to_commit(git_repository* repository, const git_oid& id,
                                     const FetchRequest& request);

/// Throws Error if the request is pinned to another commit than `commit`.
void require_pinned(const FetchRequest& request, const git_oid& commit);

}  // namespace kms::builder
