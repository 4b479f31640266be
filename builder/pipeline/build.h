// build() runs the pipeline: fetch, resolve dependencies, compile, smoke test, publish. Phases whose result
// exists are skipped.
//
// Called once, on the main thread. It owns nothing between runs: build-info.json beside the output and the
// build cache remember earlier ones. Every phase is timed and logged. An interruption ends it with
// Interrupted, a failure with an Error that names the phase; the output is unchanged then.
#pragma once

#include <filesystem>

#include "builder/compile/recipe.h"
#include "builder/compile/run.h"
#include "builder/dependencies/resolve.h"
#include "builder/run/interruption.h"
#include "builder/run/progress.h"
#include "builder/sandbox/isolation.h"
#include "builder/source/fetch.h"
#include "proto/build_info.pb.h"

namespace kms::builder {

struct BuildRequest {
  FetchRequest source;  ///< with at least one path, the compiled one first; without a scratch directory
  Recipe recipe;
  Dependencies dependencies = Dependencies::fetch;
  std::filesystem::path build_dir;  ///< absolute
  std::filesystem::path output;     ///< the binary, absolute
  std::filesystem::path cache_dir;  ///< absolute
  std::uint64_t cache_max = 0;      ///< bytes; 0: no cache
  IsolationRequest isolation;
  Duration timeout;  ///< for all steps of the compile together
  SmokeTest smoke_test;
  bool force = false;  ///< compile even if nothing changed
};

struct BuildResult {
  enum class Kind { compiled, from_cache, up_to_date };
  mock_kms::v1::BuildInfo info;
  Kind kind = Kind::compiled;
};

[[nodiscard]] BuildResult build(const BuildRequest& request, const Interruption& interruption,
                                Progress& progress);

}  // namespace kms::builder
