// CommandLine is the command-line habits that all programs here share, on top of CLI11.
//
// It owns the CLI11 app. main() makes one, adds options and subcommands to app(), then calls parse() once, on
// one thread, before any other is started. The habits:
//   - every long option `--some-name` has the environment variable PREFIX_SOME_NAME; the option wins, and a
//     variable with the prefix that means nothing is warned about;
//   - Go's single-dash long options work (`-listen-addr=...`);
//   - a bad option is one line on stderr that suggests the nearest one, and exit code 2;
//   - `--help`, `--version`, `--log-level` and `--log-format` are everywhere.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/text/time.h"

namespace kms {

class CommandLine {
 public:
  /// `purpose` is the help's first line; `env_prefix` is such as "SUPERVISOR_".
  CommandLine(std::string program, const std::string& purpose, std::string env_prefix);

  [[nodiscard]] CLI::App& app() { return app_; }

  /// The subcommand that is meant where the first argument is missing or is an option other than
  /// --help/--version.
  void default_command(std::string name) { default_command_ = std::move(name); }

  /// Takes `word` for --log-level too, as another name of the level `means`.
  void accept_log_level(const std::string& word, const std::string& means);

  /// Takes --log-level from this variable too, where its own is not set.
  void accept_log_level_variable(const std::string& variable);

  /// Lines shown under "Examples:" at the end of `command`'s help.
  static void examples(CLI::App& command, const std::vector<std::string>& lines);

  /// Reads arguments and environment and sets the log up. Returns an exit code where the program is to end
  /// now
  /// (--help, --version, a usage error; all of it already printed), nothing where it is to go on.
  [[nodiscard]] std::optional<int> parse(int argc, const char* const* argv);

  /// Prints "program: cause; hint" on stderr and returns exit_code::usage: for what parse() cannot know is
  /// wrong.
  [[nodiscard]] int usage_error(const std::string& line) const;

  /// `tell` gets each usage error's line too, parse()'s own among them.
  void on_usage_error(std::function<void(const std::string&)> tell) { tell_ = std::move(tell); }

 private:
  [[nodiscard]] std::vector<std::string> normalized(int argc, const char* const* argv) const;
  void add_environment(CLI::App& command) const;
  void warn_of_unknown_environment() const;
  [[nodiscard]] std::string describe(const CLI::ParseError& error) const;

  std::string program_;
  std::string env_prefix_;
  std::string default_command_;
  std::function<void(const std::string&)> tell_;
  std::string log_level_ = "info";
  std::string log_format_ = "text";
  CLI::App app_;
};

/// Adds an option that takes a duration in Go's syntax, at least `least`. Its default is what `value` holds.
CLI::Option* add_duration(CLI::App& command, const std::string& name, Duration& value,
                          const std::string& help, Duration least = Duration{0});

/// The candidate that is nearest to `word`, "" where none is near enough to be a slip of the hand. Pure.
[[nodiscard]] std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace kms
