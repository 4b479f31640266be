// Toolchain finds the tools of a build: the compiler, the program that drives it, and the number of jobs.
//
// A value that find() makes from PATH, CXX and the compiler's --version; used on one thread. It never
// installs anything.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "builder/run/interruption.h"

namespace kms::builder {

enum class BuildSystem { automatic, cmake, go, make, command };

/// "auto", "cmake", "go", "make" or "command".
[[nodiscard]] const char* name_of(BuildSystem system);

/// The reverse; empty if no system has the name.
[[nodiscard]] std::optional<BuildSystem> system_of(std::string_view name);

struct Toolchain {
  std::string driver;            ///< absolute path of cmake, go, make or sh
  std::string generator;         ///< CMake's: "Ninja" or "Unix Makefiles"; else ""
  std::string compiler;          ///< absolute path; may be "" for make and command
  std::string compiler_version;  ///< the first line of its --version
  unsigned jobs = 1;             ///< by the processors and the memory of this process

  /// The tools of `system`. Throws Error that names a missing one.
  [[nodiscard]] static Toolchain find(BuildSystem system, const Interruption& interruption);
};

/// The limits of this process' cgroup and those above it, of version 1 or 2; empty if there is none.
struct CgroupLimits {
  std::optional<double> processors;
  std::optional<std::uint64_t> memory;  ///< bytes
};

/// `root` is "/" except in tests.
[[nodiscard]] CgroupLimits cgroup_limits(const std::filesystem::path& root);

/// One job for each of `processors`, but no more than the limits allow; at least 1.
[[nodiscard]] unsigned jobs_within(const CgroupLimits& limits, unsigned processors);

/// The directory of ccache's objects: $CCACHE_DIR, or one in `build_dir`; "" if there is no ccache or it is
/// disabled. Isolated code writes to a directory of its own, so that it cannot change others' objects.
[[nodiscard]] std::filesystem::path ccache_directory(const std::filesystem::path& build_dir, bool isolated);

}  // namespace kms::builder
