// The options of `builder build` and `builder fetch` that say what is fetched and how.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "builder/source/fetch.h"
#include "common/cli/command_line.h"

namespace kms::builder {

/// The values of the options.
struct SourceOptions {
  std::string repository;
  std::string ref = "HEAD";
  std::vector<std::string> paths;
  Duration fetch_timeout = std::chrono::seconds(60);
  RetryPolicy retry{5};
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

/// The caller sets FetchRequest::scratch. Throws Error if an option is wrong.
[[nodiscard]] FetchRequest read_source_options(const SourceOptions& options);

/// The value of an option that names a file or a directory. Throws Error.
[[nodiscard]] std::filesystem::path absolute_path(const std::string& option, const std::string& path);

}  // namespace kms::builder
