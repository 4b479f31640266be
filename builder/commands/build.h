// The command-line options of `builder build`.
//
// Used by main, on one thread, before anything else runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "builder/commands/profile.h"
#include "builder/commands/report.h"
#include "builder/commands/source_options.h"
#include "builder/pipeline/build.h"

namespace kms::builder {

/// As they were given.
struct BuildOptions {
  SourceOptions source;
  ReportOptions report;
  std::string profile = "embedded";
  std::string system = "auto";
  std::string closure = "fetch";
  std::string modules = "off";
  std::string isolation = "on";
  std::string build_dir;
  std::string cache_dir;
  std::string output = "mock-kms-provider";
  Recipe recipe;
  IsolationRequest isolated{true, false, {}, {0, 4'000'000'000, 1000, 2'000'000'000}};
  Proof proof;
  Duration timeout = std::chrono::minutes(30);
  std::uint64_t cache_max = 1'000'000'000;
  bool force = false;
};

void add_build_options(CLI::App& command, BuildOptions& options);

[[nodiscard]] const Profile& chosen_profile(const BuildOptions& options);

/// What they mean, with what is left out taken from the profile. Throws Error where an option is wrong.
[[nodiscard]] BuildRequest read_build_options(const CLI::App& command, BuildOptions options);

}  // namespace kms::builder
