#include "builder/source/remote.h"

#include <algorithm>
#include <array>
#include <future>
#include <memory>

#include "builder/git/source_tree.h"
#include "builder/source/packs.h"
#include "builder/source/upload_pack.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

constexpr std::size_t max_refs = std::size_t{16} * 1024 * 1024;  ///< bytes of a list of refs
constexpr std::size_t some_refs = std::size_t{256} * 1024;       ///< for suggesting a name

/// The strategies to ask for directories.
///
/// With a combined filter the server walks all directories below a wanted object. So the commit is asked for
/// with its root alone. The depth of a wanted tree does not count the tree itself, that of a commit does
/// (list-objects-filter.c).
struct Strategy {
  const char* name;
  const char* commit_filter;
  const char* directory_filter;  ///< null: levels_filter()
};

constexpr std::array<Strategy, 3> filtered_strategies{
    {{"three directory levels a request", "tree:1", nullptr},
     {"one directory level a request", "tree:0", "tree:0"},
     {"all directories at once", "blob:none", "blob:none"}}};

/// Directories below a missing one that are asked for with it. Deeper ones would bring much that is not
/// wanted.
constexpr std::size_t max_levels_below = 2;

/// Combined, since `tree:N` alone sends the blobs of the levels above the last.
std::string levels_filter(std::size_t levels_below) {
  if (levels_below == 0) return "tree:0";
  return "combine:tree:" + std::to_string(std::min(levels_below, max_levels_below)) + "+blob:none";
}

class RemoteFetch {
 public:
  explicit RemoteFetch(FetchState& state)
      : request_(state.request),
        meter_(state.meter),
        directories_(state.directories),
        transport_(make_transport(request_, meter_)),
        server_(*transport_, meter_),
        repository_(connect_and_open(!state.resolved && !is_known_id())),
        ref_(state.resolved ? *state.resolved : state.resolved.emplace(resolve())) {}

  Fetched run() {
    if (request_.known_commits.contains(git::hex(ref_.commit))) {
      require_pinned(request_, ref_.commit);
      return result(nullptr, ref_.commit, "ref alone");
    }
    if (!missing().nothing()) {
      const bool is_peeled = server_.advertisement().version == 2 && !request_.ref.is_commit_id();
      if (is_peeled) require_pinned(request_, ref_.commit);
      if (!fetch_filtered()) fetch_everything();
    }
    std::string strategy;
    if (!strategy_.empty())
      strategy = "v" + std::to_string(server_.advertisement().version) + ", " + strategy_;
    transport_.reset();
    const git_oid commit = peel_to_commit(repository_.get(), ref_.commit, request_);
    require_pinned(request_, commit);
    return result(std::move(repository_), commit, strategy);
  }

 private:
  [[nodiscard]] Fetched result(git::Repository objects, const git_oid& commit, std::string strategy) const {
    return {.objects = std::move(objects),
            .commit = commit,
            .tip = ref_.tip,
            .strategy = std::move(strategy),
            .bytes = meter_.bytes,
            .requests = meter_.requests,
            .directories = directories_};
  }

  /// True if the ref is the id of a known commit: the server is not asked.
  [[nodiscard]] bool is_known_id() const {
    return request_.ref.is_commit_id() && request_.known_commits.contains(request_.ref.text());
  }

  /// Sets libgit2 up, which reads certificates, while the server answers.
  [[nodiscard]] git::Repository connect_and_open(bool connect) {
    auto repository = std::async(std::launch::async, [this] {
      git::prepare_library();
      return open_packs(directories_);
    });
    if (connect) (void)server_.advertisement();
    return repository.get();
  }

  [[nodiscard]] Missing missing() const {
    const std::vector<std::string> all{"."};
    return missing_objects(repository_.get(), ref_.commit, request_.paths.empty() ? all : request_.paths);
  }

  /// Asks nothing if the ref is an id.
  ResolvedRef resolve() {
    const RefName& ref = request_.ref;
    if (ref.is_commit_id()) return {parse_id(ref.text()), parse_id(ref.text())};
    const std::vector<std::string> names = ref.candidates();
    if (names.size() == 1) {  // a server that does not have it ends the answer, which costs a round trip
      if (const auto fetched = fetch_by_name(names.front())) return *fetched;
    }
    const std::vector<AdvertisedRef> refs = server_.refs(names, max_refs);
    for (const std::string& name : names) {
      const auto found =
          std::find_if(refs.begin(), refs.end(), [&](const AdvertisedRef& r) { return r.name == name; });
      if (found != refs.end()) return {found->id, found->target()};
    }
    throw Error(ref.not_found(request_.repository.display(), some_names()));
  }

  /// Fetches the commit together with the ref's id, which saves a round trip. Empty if the server cannot, or
  /// has no such ref.
  std::optional<ResolvedRef> fetch_by_name(const std::string& name) {
    if (!request_.known_commits.empty() || !can_filter() || !server_.advertisement().refs_by_name)
      return std::nullopt;
    try {
      const std::optional<git_oid> tip =
          receive_pack({{}, filtered_strategies.front().commit_filter, true, name});
      if (!tip) return std::nullopt;
      strategy_ = filtered_strategies.front().name;
      return ResolvedRef{*tip, peeled(*tip)};
    } catch (const ServerRefusal& refusal) {
      first_is_refused_ = refusal.kind() == ServerRefusal::Kind::filter;
      log::debug("the server does not send the ref by its name", {{"ref", name}, {"cause", refusal.what()}});
      return std::nullopt;
    }
  }

  std::vector<std::string> some_names() {
    std::vector<std::string> names;
    for (const AdvertisedRef& ref : server_.refs({"refs/heads/", "refs/tags/"}, some_refs)) {
      names.push_back(ref.name);
    }
    return names;
  }

  std::optional<git_oid> receive_pack(const Wants& wants) {
    PackSink sink(repository_.get(), meter_);
    const auto ref = server_.fetch(wants, [&](std::string_view bytes) { sink.append(bytes); });
    sink.finish();
    return ref;
  }

  /// True if parts of the commit are wanted, and the server can leave the others out.
  [[nodiscard]] bool can_filter() {
    const bool whole_tree =
        std::find(request_.paths.begin(), request_.paths.end(), ".") != request_.paths.end();
    return server_.advertisement().filters && server_.advertisement().any_object && !request_.paths.empty() &&
           !whole_tree;
  }

  /// False if the server cannot leave enough out.
  bool fetch_filtered() {
    if (!can_filter()) return false;
    for (const Strategy& strategy : filtered_strategies) {
      if (first_is_refused_ && &strategy == &filtered_strategies.front()) continue;
      try {
        fetch_by(strategy);
        strategy_ = strategy.name;
        return true;
      } catch (const ServerRefusal& refusal) {
        if (refusal.kind() == ServerRefusal::Kind::other) throw;
        log::info("the server does not support this strategy, trying the next",
                  {{"strategy", strategy.name}, {"cause", refusal.what()}});
        if (refusal.kind() != ServerRefusal::Kind::filter) return false;
      }
    }
    return false;
  }

  void fetch_by(const Strategy& strategy) {
    Missing left = missing();
    if (left.commit) {
      std::vector<git_oid> wants{ref_.commit};
      if (request_.signers && git_oid_equal(&ref_.tip, &ref_.commit) == 0) wants.push_back(ref_.tip);
      receive_pack({std::move(wants), strategy.commit_filter, true});
      ref_.commit = peeled(ref_.commit);  // an id may be a tag's, which only the fetched object shows
      left = missing();
    }
    while (!left.directories_are_known()) {
      if (left.commit) throw Error(no_such_commit());
      receive_pack({left.directories,
                    strategy.directory_filter == nullptr ? levels_filter(left.levels_below)
                                                         : strategy.directory_filter,
                    false});
      const std::vector<git_oid> before = std::move(left.directories);
      left = missing();
      if (!left.directories.empty() && git_oid_equal(&before.front(), &left.directories.front()) != 0) {
        throw Error("cannot fetch from " + request_.repository.display() +
                    ": the server does not send the directories that it is asked for");
      }
    }
    if (!left.targets.empty()) receive_pack({left.targets, "", false});
  }

  /// The commit of a tag that was fetched, else `id` itself.
  [[nodiscard]] git_oid peeled(const git_oid& id) const {
    git_object* raw = nullptr;
    if (git_object_lookup(&raw, repository_.get(), &id, GIT_OBJECT_TAG) < 0) return id;
    const git::Object tag(raw);
    git_object* commit = nullptr;
    if (git_object_peel(&commit, tag.get(), GIT_OBJECT_COMMIT) < 0) return id;
    return *git_object_id(git::Object(commit).get());
  }

  void fetch_everything() {
    strategy_ = server_.advertisement().shallow ? "whole commit" : "whole history";
    try {
      receive_pack({{ref_.tip}, "", true});
    } catch (const ServerRefusal& refusal) {
      if (!request_.ref.is_commit_id() || refusal.kind() == ServerRefusal::Kind::other) throw;
      if (server_.advertisement().version == 2) throw Error(no_such_commit());
      fetch_history();
    }
  }

  /// For a commit that the server does not give by its id: it is in the history of a branch or a tag.
  void fetch_history() {
    strategy_ = "whole history";
    Wants wants;
    for (const AdvertisedRef& ref : server_.advertisement().refs) {
      if (ref.name.starts_with("refs/heads/") || ref.name.starts_with("refs/tags/")) {
        wants.ids.push_back(ref.id);
      }
    }
    if (wants.ids.empty()) throw Error(no_such_commit());
    receive_pack(wants);
  }

  [[nodiscard]] Error no_such_commit() const {
    return request_.ref.not_found(request_.repository.display(), {});
  }

  const FetchRequest& request_;
  FetchMeter& meter_;
  const std::vector<std::filesystem::path>& directories_;
  std::unique_ptr<Transport> transport_;
  UploadPack server_;
  git::Repository repository_;
  std::string strategy_;           ///< of the last request for objects
  bool first_is_refused_ = false;  ///< the filter of the first strategy
  ResolvedRef& ref_;               ///< last: its initializer may fetch
};

}  // namespace

Fetched fetch_remote(FetchState& state) { return RemoteFetch(state).run(); }

}  // namespace kms::builder
