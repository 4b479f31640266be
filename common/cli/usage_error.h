// Describes a wrong command line in plain words, with the next step, in place of CLI11's texts.
//
// A function without state; it reads the App tree on the calling thread.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>

namespace kms {

/// Next steps that the options themselves do not tell.
struct UsageHints {
  std::map<const CLI::App*, std::string> next_steps;  ///< after an argument that the command does not take
  std::map<std::string, std::string> elsewhere;       ///< a command of another program, and that program
};

/// One line, such as "unknown option '--listen-adr'; did you mean '--listen-addr'? (see 'tool serve
/// --help')". `program` threw `error` while it parsed. Values that may hold a login are not shown.
[[nodiscard]] std::string describe_usage_error(const CLI::App& program, const CLI::ParseError& error,
                                               const UsageHints& hints);

}  // namespace kms
