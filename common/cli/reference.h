// Writes the manual pages and the shell completions of a program from the command line that parses its
// options.
//
// Functions without state; they read the App tree on the calling thread.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace kms::reference {

/// The completion script for "bash", "zsh" or "fish".
[[nodiscard]] std::string completion(const CLI::App& program, const std::string& shell);

/// Writes PROGRAM.1, PROGRAM-COMMAND.1 and so on into an existing directory. Throws Error.
void write_manual(const CLI::App& program, const std::string& version, const std::string& directory);

/// The type of an option's value for people, such as "{text,json}" or "UINT in [1 - 1000]". CLI11 puts the
/// C++ type before it.
[[nodiscard]] std::string type_of(const CLI::Option& option);

/// Calls `visit` for the program and each of its commands.
void for_each_command(CLI::App& program, const std::function<void(CLI::App&)>& visit);

}  // namespace kms::reference
