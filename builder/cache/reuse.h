// Reuse publishes a binary that was made before: the one at the output, or one from the build cache.
//
// Used on the main thread. A binary counts if its build key and SHA-256 match and it passes the smoke test.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "builder/cache/store.h"
#include "builder/compile/recipe.h"
#include "builder/compile/run.h"
#include "builder/dependencies/resolve.h"
#include "builder/publish/output.h"
#include "builder/run/interruption.h"
#include "builder/sandbox/isolation.h"

namespace kms::builder {

struct Reused {
  mock_kms::v1::BuildInfo info;
  bool from_cache;  ///< else the binary at the output was up to date
};

class Reuse {
 public:
  /// `isolation` is called once, before a binary is run.
  Reuse(std::filesystem::path output, const BuildCache& cache, SmokeTest test,
        std::function<const Isolation&()> isolation, const Interruption& interruption)
      : output_(std::move(output)),
        cache_(cache),
        test_(std::move(test)),
        isolation_(std::move(isolation)),
        interruption_(interruption) {}

  /// True if serve() is likely to find a binary. Reads only names and the output's record.
  [[nodiscard]] bool offers(const std::string& key) const;

  /// Publishes a binary with the key of `info`, whose source fields are those of this run. Empty if there is
  /// none that is whole and runs. Throws Error, Interrupted.
  [[nodiscard]] std::optional<Reused> serve(const mock_kms::v1::BuildInfo& info) const;

 private:
  [[nodiscard]] std::optional<Reused> from_output(const mock_kms::v1::BuildInfo& info) const;
  [[nodiscard]] std::optional<Reused> from_cache(const mock_kms::v1::BuildInfo& info) const;
  [[nodiscard]] bool runs(const std::filesystem::path& binary, const Output& output) const;

  std::filesystem::path output_;
  const BuildCache& cache_;
  SmokeTest test_;
  std::function<const Isolation&()> isolation_;
  const Interruption& interruption_;
};

/// Names the part of a request that decides which files of a commit are needed.
[[nodiscard]] std::string source_key(const std::vector<std::string>& paths, BuildSystem system,
                                     Dependencies dependencies);

/// Records the tools, their flags, and the build key that follows from these and the recorded paths. Throws
/// Error.
void record_tools(const Recipe& recipe, const Toolchain& tools, mock_kms::v1::BuildInfo& info);

/// The commits that were requested before and for which `reuse` offers a binary, each with the record of a
/// build with today's tools. It runs the compilers for their versions. Throws Error, Interrupted.
[[nodiscard]] std::map<std::string, mock_kms::v1::BuildInfo> known_sources(const BuildCache& cache,
                                                                           const std::string& source_key,
                                                                           Recipe recipe, const Reuse& reuse,
                                                                           const Interruption& interruption);

}  // namespace kms::builder
