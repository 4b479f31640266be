// Runs fetched code: run_steps() its build, run_smoke_test() the result.
//
// Called on one thread. Each command runs to its end in a process group of its own, which an interruption or
// the deadline ends. The files that the steps leave are not trusted.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "builder/compile/recipe.h"
#include "builder/run/interruption.h"
#include "builder/run/progress.h"
#include "builder/sandbox/isolation.h"

namespace kms::builder {

struct StepContext {
  const Recipe& recipe;
  const BuildDirs& dirs;
  const Toolchain& tools;
  const Isolation& isolation;
  std::string ccache_directory;  ///< "": ccache's own choice
  std::chrono::steady_clock::time_point deadline;
  std::string unfetched_link;  ///< a possible reason for a missing file; "": none
};

/// Runs all steps of the recipe, each as a phase of its name. Throws PhaseError, Interrupted.
void run_steps(const StepContext& context, Phases& phases, const Interruption& interruption,
               Progress& progress);

/// Copies the executable to `target`, with mode 0755. It follows no links: compiled code could have made one
/// to a file of the builder's. Throws Error.
void take_executable(const Recipe& recipe, const BuildDirs& dirs, const std::filesystem::path& target);

struct SmokeTest {
  std::string argument = "--version";
  Duration timeout = std::chrono::seconds(10);
};

/// Checks that a binary runs here: with `argument`, an empty environment and the compiler's isolation it
/// exits with 0. Returns its first line. Throws Error "cannot run ..." with its exit status and last line.
[[nodiscard]] std::string run_smoke_test(const std::filesystem::path& binary, const SmokeTest& test,
                                         const Isolation& isolation, const Interruption& interruption);

}  // namespace kms::builder
