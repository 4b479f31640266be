// The command-line options that say what is fetched and how; `builder build` and `builder fetch` share them.
//
// Used by main, on one thread, before anything else runs.
#pragma once

#include <string>
#include <vector>

#include "builder/source/fetch.h"
#include "common/cli/command_line.h"

namespace kms::builder {

/// As they were given.
struct SourceOptions {
  std::string repository;
  std::string ref = "HEAD";
  std::vector<std::string> paths;
  Duration fetch_timeout = std::chrono::seconds(60);
  Persistence persistence{5};
  std::string commit;
  std::string allowed_signers;
  std::string user;
  std::string password_file;
  std::string ssh_key;
  std::string known_hosts;
  std::string ca_file;
  Limits limits;
};

void add_source_options(CLI::App& command, SourceOptions& options, const std::string& path_help);

/// What they mean; FetchRequest::scratch is left to the caller. Throws Error where an option is wrong.
[[nodiscard]] FetchRequest read_source_options(const SourceOptions& options);

}  // namespace kms::builder
