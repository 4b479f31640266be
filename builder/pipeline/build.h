// build() is the way of a binary: fetch, close over what it needs, checkout, configure, compile, prove,
// publish; or, where it was made before, the shortest part of it.
//
// Called once, on the main thread. It owns nothing between runs: what it knows about earlier ones stands in
// build-info.json beside the output and in the build cache. Every phase is timed and logged; an interruption
// ends it with Interrupted, a failure with PhaseError, and then the output is as it was.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "builder/compile/recipe.h"
#include "builder/compile/smoke_test.h"
#include "builder/dependencies/fetch.h"
#include "builder/run/interruption.h"
#include "builder/run/phases.h"
#include "builder/run/progress.h"
#include "builder/sandbox/isolation.h"
#include "builder/source/fetch.h"
#include "proto/build_info.pb.h"

namespace kms::builder {

struct BuildRequest {
  FetchRequest source;  ///< with at least one path, the first one is compiled; no scratch directory yet
  Recipe recipe;
  Closure closure = Closure::fetch;
  std::filesystem::path build_dir;  ///< absolute
  std::filesystem::path output;     ///< the binary, absolute
  std::filesystem::path cache_dir;  ///< absolute
  std::uint64_t cache_max = 0;      ///< bytes; 0: nothing is kept, nothing found
  IsolationRequest isolation;
  Duration timeout;  ///< for all steps of the compile together
  Proof proof;
  bool force = false;  ///< compile though nothing changed
};

struct BuildResult {
  enum class Kind { compiled, from_cache, up_to_date };
  mock_kms::v1::BuildInfo info;
  Kind kind = Kind::compiled;
};

[[nodiscard]] BuildResult build(const BuildRequest& request, const Interruption& interruption,
                                Progress& progress);

}  // namespace kms::builder
