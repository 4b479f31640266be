#include "builder/pipeline/build.h"

#include <fcntl.h>
#include <google/protobuf/util/time_util.h>

#include <map>
#include <memory>
#include <optional>

#include "builder/cache/reuse.h"
#include "builder/checkout/write.h"
#include "builder/compile/run.h"
#include "builder/pipeline/work_area.h"
#include "builder/publish/output.h"
#include "builder/source/transfer.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
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
        source_key_(source_key(request.source.paths, request.recipe.system, request.dependencies)),
        reuse_(
            request.output, cache_, request.smoke_test,
            [this]() -> const Isolation& { return isolation({}); }, interruption) {}

  BuildResult run() {
    within("publish", [&] { check_output(); });
    if (auto reused = reuse_pinned_commit()) return *reused;
    const auto area = within("prepare", [&] {
      return std::make_unique<WorkArea>(
          request_.build_dir, interruption_,
          reachable_directory(request_.isolation, request_.build_dir, interruption_));
    });
    Fetched fetched = phases_.run("fetch", [&] { return fetch_commit(*area); });
    if (fetched.objects == nullptr) {
      if (auto reused = reuse_known_commit(info_.commit())) return *reused;
      fetched = phases_.run("fetch", [&] { return fetch_commit(*area); });
    }
    resolve_dependencies(fetched);
    if (auto reused = reuse_same_source()) return *reused;
    phases_.run("checkout", [&] { check_out_paths(fetched, *area); });
    const fs::path binary = compile(*area);
    phases_.run("smoke-test", [&] { smoke_test(binary); });
    interruption_.check();
    publish(binary);
    return {info_, BuildResult::Kind::compiled};
  }

 private:
  /// Fails before the compile, not after it.
  void check_output() {
    const Output output(request_.output, interruption_);
    if (output.is_noexec())
      log::warning("the output's file system is mounted noexec: nothing can run the binary there",
                   {{"output", request_.output.string()}});
  }

  /// A pinned commit that was built before needs no server.
  std::optional<BuildResult> reuse_pinned_commit() {
    const FetchRequest& source = request_.source;
    if (request_.force || source.signers) return std::nullopt;  // a signature is checked in each run
    known_ = within("prepare", [&] {
      return known_sources(cache_, source_key_, request_.recipe, reuse_, interruption_);
    });
    const std::string commit = source.ref.is_commit_id() ? source.ref.text() : source.pin;
    if (!source.pin.empty() && source.pin != commit) return std::nullopt;  // the fetch explains the conflict
    if (commit.empty() || !known_.contains(commit)) return std::nullopt;
    info_.mutable_transfer()->set_strategy("none");
    return reuse_known_commit(commit);
  }

  /// Forgets the commit if its binary is damaged or runs no more.
  std::optional<BuildResult> reuse_known_commit(const std::string& commit) {
    BuildInfo info = known_.at(commit);
    *info.mutable_transfer() = info_.transfer();
    record_request(request_.source, commit, info);
    info_ = std::move(info);
    auto reused = reuse();
    if (!reused) {
      info_.Clear();
      known_.erase(commit);
    }
    return reused;
  }

  std::optional<BuildResult> reuse_same_source() {
    if (request_.force) return std::nullopt;
    cache_.remember_source(source_key_, info_);
    return reuse();
  }

  std::optional<BuildResult> reuse() {
    const auto reused = within("publish", [&] { return reuse_.serve(info_); });
    if (!reused) return std::nullopt;
    return BuildResult{reused->info,
                       reused->from_cache ? BuildResult::Kind::from_cache : BuildResult::Kind::up_to_date};
  }

  Fetched fetch_commit(const WorkArea& area) {
    source_ = request_.source;
    source_.scratch = area.root();
    for (const auto& [commit, info] : known_) source_.known_commits.insert(commit);
    return transfer_source(source_, interruption_, progress_, info_);
  }

  void resolve_dependencies(Fetched& fetched) {
    within("checkout", [&] { record(fetched); });
    within("configure", [&] {
      if (recipe_.system == BuildSystem::automatic)
        recipe_.system = detect_system(SourceTree(fetched.objects.get(), fetched.commit), paths_.front());
    });
    if (request_.dependencies != Dependencies::off)
      within("dependencies", [&] {
        fetch_dependencies({source_, request_.dependencies, recipe_.system, paths_}, fetched, interruption_,
                           progress_);
        record_transfer(fetched, info_);
        record(fetched);
      });
    within("configure", [&] {
      tools_ = Toolchain::find(recipe_.system, interruption_);
      record_tools(recipe_, tools_, info_);
    });
  }

  void record(const Fetched& fetched) {
    record_paths(find_paths(fetched.objects.get(), fetched.commit, paths_), info_);
  }

  void check_out_paths(const Fetched& fetched, const WorkArea& area) {
    const CheckoutResult checkout =
        check_out(fetched.objects.get(), fetched.commit, paths_, area.source(), request_.source.limits);
    if (!checkout.unfetched_links.empty()) unfetched_link_ = checkout.unfetched_links.front();
  }

  /// Established once, for the compile or for a smoke test alone.
  const Isolation& isolation(const ToolDirectories& directories) {
    if (!isolation_) {
      isolation_ = Isolation::establish(request_.isolation, {tools_.driver, tools_.compiler}, directories,
                                        interruption_);
      info_.clear_isolation();
      for (const std::string& measure : isolation_->in_force()) info_.add_isolation(measure);
    }
    return *isolation_;
  }

  /// Returns a copy of the executable that fetched code cannot change.
  fs::path compile(const WorkArea& area) {
    const BuildDirs dirs{area.root(), area.source(), (area.source() / paths_.front()).lexically_normal(),
                         area.build(), area.lock_fd()};
    within("configure", [&] { check_names(recipe_, dirs).value(); });
    const fs::path binary = dirs.root / "taken" / recipe_.target;
    fs::path ccache = ccache_directory(request_.build_dir, request_.isolation.wanted);
    const bool moved = dirs.root.parent_path() != request_.build_dir;
    if (moved && !obstacle_above(ccache).empty()) ccache.clear();  // the compiling user cannot reach it
    within("prepare", [&] {
      for (const char* name : {"bin", "home", "tmp"}) fs::create_directory(dirs.build / name);
      fs::create_directory(binary.parent_path());
      ToolDirectories directories{{dirs.source, dirs.build}, {}};
      if (!ccache.empty()) {
        fs::create_directories(ccache);
        ccache = fs::canonical(ccache);
        directories.kept.push_back(ccache);
      }
      isolation_.reset();  // one for a smoke test alone allows no writing
      (void)isolation(directories);
    });
    run_steps({recipe_, dirs, tools_, *isolation_, ccache, Clock::now() + request_.timeout, unfetched_link_},
              phases_, interruption_, progress_);
    within("compile", [&] { take_executable(recipe_, dirs, binary); });
    return binary;
  }

  void smoke_test(const fs::path& binary) {
    info_.mutable_binary()->set_version(
        run_smoke_test(binary, request_.smoke_test, isolation({}), interruption_));
  }

  void publish(const fs::path& binary) {
    *info_.mutable_built_at() = TimeUtil::GetCurrentTime();
    within("publish", [&] {
      const auto begin = Clock::now();
      Output output(request_.output, interruption_);
      const UniqueFd built(::open(binary.c_str(), O_RDONLY | O_CLOEXEC));
      if (!built) throw_errno("open " + binary.string());
      output.stage(built.get(), info_);
      phases_.note("publish", Clock::now() - begin);  // the record cannot hold the time of its own renaming
      output.publish(info_);
    });
    log::info("published", {{"binary", request_.output.string()},
                            {"sha256", info_.binary().sha256()},
                            {"bytes", info_.binary().size()}});
    cache_.store(info_.key(), binary, info_);
  }

  const BuildRequest& request_;
  const Interruption& interruption_;
  Progress& progress_;
  BuildInfo info_;
  Phases phases_;
  FetchRequest source_ = request_.source;
  std::vector<std::string> paths_;  ///< all that is checked out
  std::string unfetched_link_;      ///< one of CheckoutResult::unfetched_links
  Recipe recipe_;
  BuildCache cache_;
  std::string source_key_;
  Toolchain tools_;
  std::optional<Isolation> isolation_;
  Reuse reuse_;
  std::map<std::string, BuildInfo> known_;  ///< by commit
};

}  // namespace

BuildResult build(const BuildRequest& request, const Interruption& interruption, Progress& progress) {
  return Build(request, interruption, progress).run();
}

}  // namespace kms::builder
