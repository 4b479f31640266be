// Reuse publishes a binary that was made before: the one that stands at the output, or one of the build
// cache.
//
// Used on one thread. A binary counts by its build key and its SHA-256, and it has to run.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>

#include "builder/cache/store.h"
#include "builder/compile/smoke_test.h"
#include "builder/publish/output.h"
#include "builder/run/interruption.h"
#include "builder/sandbox/isolation.h"

namespace kms::builder {

enum class Origin { output, cache };

struct Reused {
  mock_kms::v1::BuildInfo info;
  Origin origin;
};

class Reuse {
 public:
  /// `isolation` is asked for once, before a binary is run.
  Reuse(std::filesystem::path output, const BuildCache& cache, Proof proof,
        std::function<const Isolation&()> isolation, const Interruption& interruption)
      : output_(std::move(output)),
        cache_(cache),
        proof_(std::move(proof)),
        isolation_(std::move(isolation)),
        interruption_(interruption) {}

  /// Whether serve() is likely to find something: nothing is read but names and the output's record.
  [[nodiscard]] bool offers(const std::string& key) const;

  /// Publishes what has the key of `info`, whose source fields are those of this run; nothing where there is
  /// none that is whole and runs. Throws Error, Interrupted.
  [[nodiscard]] std::optional<Reused> serve(const mock_kms::v1::BuildInfo& info) const;

 private:
  [[nodiscard]] std::optional<Reused> from_output(const mock_kms::v1::BuildInfo& info) const;
  [[nodiscard]] std::optional<Reused> from_cache(const mock_kms::v1::BuildInfo& info) const;
  [[nodiscard]] bool runs(const std::filesystem::path& binary) const;

  std::filesystem::path output_;
  const BuildCache& cache_;
  Proof proof_;
  std::function<const Isolation&()> isolation_;
  const Interruption& interruption_;
};

}  // namespace kms::builder
