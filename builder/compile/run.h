// Runs the steps of a build, and takes the executable out of what they left.
//
// Called on one thread; each step runs to its end, in a process group of its own that an interruption or the
// deadline ends. Nothing of what they left is trusted.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "builder/compile/steps.h"
#include "builder/run/interruption.h"
#include "builder/run/phases.h"
#include "builder/run/progress.h"
#include "builder/sandbox/isolation.h"

namespace kms::builder {

/// Where and under what a step runs.
struct StepSurroundings {
  const Recipe& recipe;
  const Workplace& place;
  const Toolchain& tools;
  const Isolation& isolation;
  std::string ccache_directory;  ///< "": ccache's own choice
  std::chrono::steady_clock::time_point deadline;
};

/// Runs all steps of the recipe, each as a phase of its name. Throws PhaseError, Interrupted.
void run_steps(const StepSurroundings& around, Phases& phases, const Interruption& interruption,
               Progress& progress);

/// Copies the executable to `taken`, with mode 0755. Links are not followed: what was compiled could have
/// made one that leads to a file of the builder's own. Throws Error.
void take_executable(const Recipe& recipe, const Workplace& place, const std::filesystem::path& taken);

}  // namespace kms::builder
