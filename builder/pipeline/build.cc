#include "builder/pipeline/build.h"

#include <fcntl.h>
#include <google/protobuf/util/time_util.h>

#include <map>
#include <memory>
#include <optional>

#include "builder/cache/known_sources.h"
#include "builder/cache/reuse.h"
#include "builder/cache/store.h"
#include "builder/checkout/write.h"
#include "builder/commands/transfer.h"
#include "builder/compile/run.h"
#include "builder/compile/toolchain.h"
#include "builder/dependencies/fetch.h"
#include "builder/dependencies/resolve.h"
#include "builder/pipeline/work_area.h"
#include "builder/publish/output.h"
#include "builder/run/phases.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;
using google::protobuf::util::TimeUtil;
using mock_kms::v1::BuildInfo;

class Build {
 public:
  Build(const BuildRequest& request, const Interruption& interruption, Progress& progress)
      : request_(request),
        interruption_(interruption),
        progress_(progress),
        phases_(progress, info_),
        paths_(request.source.paths),
        recipe_(request.recipe),
        cache_(request.cache_dir, request.cache_max),
        question_(question_of(request.source.paths, request.recipe.system, request.closure)),
        reuse_(
            request.output, cache_, request.proof, [this]() -> const Isolation& { return isolation({}); },
            interruption) {}

  BuildResult run() {
    within("publish", [&] { Output output(request_.output, interruption_); });  // fails early
    if (auto result = without_fetching()) return *result;
    const auto area =
        within("prepare", [&] { return std::make_unique<WorkArea>(request_.build_dir, interruption_); });
    Fetched fetched = phases_.run("fetch", [&] { return fetch_commit(*area); });
    if (fetched.objects == nullptr) {
      if (auto result = serve_known(info_.commit())) return *result;
      fetched = phases_.run("fetch", [&] { return fetch_commit(*area); });
    }
    within("checkout", [&] { record(fetched); });
    within("configure", [&] { choose_system(fetched); });
    within("dependencies", [&] { close_over_needs(fetched); });
    within("configure", [&] { describe(Toolchain::find(recipe_.system, interruption_)); });
    if (!request_.force) {
      cache_.remember_source(question_, info_);
      if (auto result = serve()) return *result;
    }
    phases_.run("checkout", [&] { check_out_paths(fetched, *area); });
    return compile(*area);
  }

 private:
  /// Where the commit is pinned and was built before, nobody has to be asked anything.
  std::optional<BuildResult> without_fetching() {
    const FetchRequest& source = request_.source;
    if (request_.force || source.signers) return std::nullopt;  // a signature is looked at each time
    known_ = within("prepare",
                    [&] { return known_sources(cache_, question_, request_.recipe, reuse_, interruption_); });
    const std::string commit = source.ref.is_commit_id() ? source.ref.text() : source.pin;
    if (!source.pin.empty() && source.pin != commit) return std::nullopt;  // the fetch says what is wrong
    if (commit.empty() || !known_.contains(commit)) return std::nullopt;
    info_.mutable_transfer()->set_strategy("none");
    return serve_known(commit);
  }

  std::optional<BuildResult> serve_known(const std::string& commit) {
    BuildInfo info = known_.at(commit);
    *info.mutable_transfer() = info_.transfer();
    record_request(request_.source, commit, info);
    info_ = std::move(info);
    auto result = serve();
    if (!result) {  // it was damaged, or runs no more
      info_.Clear();
      known_.erase(commit);
    }
    return result;
  }

  std::optional<BuildResult> serve() {
    const auto reused = within("publish", [&] { return reuse_.serve(info_); });
    if (!reused) return std::nullopt;
    return BuildResult{reused->info, reused->origin == Origin::cache ? BuildResult::Kind::from_cache
                                                                     : BuildResult::Kind::up_to_date};
  }

  Fetched fetch_commit(const WorkArea& area) {
    source_ = request_.source;
    source_.scratch = area.root();
    for (const auto& [commit, info] : known_) source_.known_commits.insert(commit);
    return transfer_source(source_, interruption_, progress_, info_);
  }

  void record(const Fetched& fetched) {
    record_paths(find_paths(fetched.objects.get(), fetched.commit, paths_), info_);
  }

  void choose_system(const Fetched& fetched) {
    if (recipe_.system != BuildSystem::automatic) return;
    recipe_.system = detect_system(SourceTree(fetched.objects.get(), fetched.commit), paths_.front());
  }

  void close_over_needs(Fetched& fetched) {
    if (request_.closure == Closure::off) return;
    fetch_closure({source_, request_.closure, recipe_.system, paths_}, fetched, interruption_, progress_);
    record_transfer(fetched, info_);
    record(fetched);
  }

  void describe(Toolchain tools) {
    tools_ = std::move(tools);
    record_tools(recipe_, tools_, info_);
  }

  void check_out_paths(const Fetched& fetched, const WorkArea& area) {
    log_checkout(
        check_out(fetched.objects.get(), fetched.commit, paths_, area.source(), request_.source.limits));
  }

  /// Established once, for the compile or for a proof alone.
  const Isolation& isolation(const ToolDirectories& directories) {
    if (!isolation_) {
      isolation_ = Isolation::establish(request_.isolation, {tools_.driver, tools_.compiler}, directories,
                                        interruption_);
      info_.clear_isolation();
      for (const std::string& measure : isolation_->in_force()) info_.add_isolation(measure);
    }
    return *isolation_;
  }

  BuildResult compile(const WorkArea& area) {
    const Workplace place{area.root(), area.source(), (area.source() / paths_.front()).lexically_normal(),
                          area.build(), area.lock_fd()};
    isolation_.reset();  // a proof's would allow no writing
    const fs::path binary = place.root / "taken" / recipe_.target;
    fs::path ccache = ccache_directory(request_.build_dir, request_.isolation.wanted);
    within("prepare", [&] {
      for (const char* name : {"bin", "home", "tmp"}) fs::create_directory(place.build / name);
      fs::create_directory(binary.parent_path());
      ToolDirectories directories{{place.source, place.build}, {}};
      if (!ccache.empty()) {
        fs::create_directories(ccache);
        ccache = fs::canonical(ccache);
        directories.kept.push_back(ccache);
      }
      (void)isolation(directories);
    });
    run_steps(
        {recipe_, place, tools_, *isolation_, ccache, std::chrono::steady_clock::now() + request_.timeout},
        phases_, interruption_, progress_);
    within("compile", [&] { take_executable(recipe_, place, binary); });
    phases_.run("smoke-test", [&] {
      info_.mutable_binary()->set_version(prove_runs(binary, request_.proof, isolation({}), interruption_));
    });
    interruption_.check();
    publish(binary);
    cache_.store(info_.key(), binary, info_);
    return {info_, BuildResult::Kind::compiled};
  }

  void publish(const fs::path& binary) {
    *info_.mutable_built_at() = TimeUtil::GetCurrentTime();
    within("publish", [&] {
      const auto begin = std::chrono::steady_clock::now();
      Output output(request_.output, interruption_);
      const UniqueFd built(::open(binary.c_str(), O_RDONLY | O_CLOEXEC));
      if (!built) throw_errno("open " + binary.string());
      output.stage(built.get(), info_);
      // The record cannot hold the time of its own renaming.
      phases_.note("publish", std::chrono::steady_clock::now() - begin);
      output.publish(info_);
    });
    log::info("published", {{"binary", request_.output.string()},
                            {"sha256", info_.binary().sha256()},
                            {"bytes", info_.binary().size()}});
  }

  const BuildRequest& request_;
  const Interruption& interruption_;
  Progress& progress_;
  BuildInfo info_;
  Phases phases_;
  FetchRequest source_ = request_.source;
  std::vector<std::string> paths_;  ///< all that is checked out
  Recipe recipe_;
  BuildCache cache_;
  std::string question_;
  Toolchain tools_;
  std::optional<Isolation> isolation_;
  Reuse reuse_;
  std::map<std::string, BuildInfo> known_;
};

}  // namespace

BuildResult build(const BuildRequest& request, const Interruption& interruption, Progress& progress) {
  try {
    return Build(request, interruption, progress).run();
  } catch (...) {
    progress.clear();
    throw;
  }
}

}  // namespace kms::builder
