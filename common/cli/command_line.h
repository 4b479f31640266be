// CommandLine gives every program the same command line, on top of CLI11.
//
// main makes one, adds the commands and calls run(). The shared rules:
//   - each long option `--some-name` has the environment variable PREFIX_SOME_NAME; the option wins;
//   - a long-running command warns of a variable with the prefix that no option reads;
//   - Go's single-dash long options work (`-listen-addr=...`);
//   - a wrong option is one line on stderr that suggests the nearest option, and exit code 2;
//   - every command has `--help`, `--version`, `--log-level` and `--log-format`.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/cli/usage_error.h"
#include "common/text/nearest.h"
#include "common/text/time.h"

namespace kms {

/// One command of a program. The file that defines it adds the options and owns their values.
struct Command {
  CLI::App* app;
  std::function<int()> run;   ///< returns the exit code, or throws Error
  bool long_running = false;  ///< warns of unknown environment variables; the others stay quiet
};

class CommandLine {
 public:
  /// `purpose` is the first line of the help; `env_prefix` is for example "SUPERVISOR_".
  CommandLine(std::string program, const std::string& purpose, std::string env_prefix);

  [[nodiscard]] CLI::App& app() { return app_; }

  /// A subcommand with examples at the end of its help. add() makes it run.
  CLI::App& add_subcommand(const std::string& name, const std::string& help,
                           const std::vector<std::string>& examples);

  /// A subcommand of a subcommand, such as `fault add`. Its help also lists the options of `parent`, which
  /// work after its name too, and `more`.
  static CLI::App& add_nested(CLI::App& parent, const std::string& name, const std::string& help,
                              const std::vector<std::string>& examples, const std::string& more = "");

  /// Lists the options of `parent` at the end of `command`'s help too.
  static void show_options_of(const CLI::App& parent, CLI::App& command);

  void add(Command command) { commands_.push_back(std::move(command)); }

  /// The command that runs if the first argument is missing or is an option other than --help and --version.
  void default_command(std::string name) { default_command_ = std::move(name); }

  /// The next step after an argument that `command` does not take, such as "name the file with --check".
  void explain_argument(const CLI::App& command, std::string next_step) {
    hints_.next_steps.emplace(&command, std::move(next_step));
  }

  /// Commands of another program, which users look for in this one.
  void commands_elsewhere(const std::string& program, const std::vector<std::string>& names) {
    for (const std::string& name : names) hints_.elsewhere.emplace(name, program);
  }

  /// Accepts `word` for --log-level as another name of the level `means`.
  void accept_log_level(const std::string& word, const std::string& means);

  /// Reads --log-level from this variable too, unless its own variable is set.
  void accept_log_level_variable(const std::string& variable);

  /// Treats variables with this prefix too as the program's: it warns of unknown ones and service links.
  void add_prefix(std::string prefix) { prefixes_.push_back(std::move(prefix)); }

  /// `report` gets each usage error's line too.
  void on_usage_error(std::function<void(const std::string&)> report) {
    report_usage_error_ = std::move(report);
  }

  /// Parses, sets the log up and runs the command. Prints an Error on stderr. Returns the exit code. Lost
  /// output on stdout is a failure.
  [[nodiscard]] int run(int argc, const char* const* argv);

  /// The first half of run(): the exit code if the program ends here (--help, --version, a usage error), else
  /// nothing.
  [[nodiscard]] std::optional<int> parse(int argc, const char* const* argv);

  /// Prints "program: cause; next step" and returns exit_code::usage.
  [[nodiscard]] int usage_error(const std::string& line) const;

  /// Lines under "Examples:" at the end of `command`'s help.
  static void examples(CLI::App& command, const std::vector<std::string>& lines);

 private:
  [[nodiscard]] std::vector<std::string> normalized(int argc, const char* const* argv) const;
  /// Writes the output. `code`, or a failure if output was lost.
  [[nodiscard]] int finish(int code, const std::string& output) const;
  /// Prints the error. Returns the exit code.
  [[nodiscard]] int report(const Error& error) const;
  void add_environment(CLI::App& command) const;
  [[nodiscard]] std::vector<std::string> remove_service_links() const;
  void warn_of_environment(const CLI::App& command) const;

  std::string program_;
  std::vector<std::string> prefixes_;  ///< of the program's environment variables; the first is its own
  std::string default_command_;
  std::function<void(const std::string&)> report_usage_error_;
  std::string log_level_ = "info";
  std::string log_format_ = "text";
  std::vector<std::string> more_variables_;  ///< other names of variables, which no option shows
  std::vector<std::string> service_links_;   ///< names of the variables that parse() removed
  std::vector<Command> commands_;
  UsageHints hints_;
  CLI::App app_;
};

/// Adds an option that takes a duration in Go's syntax, at least `min`. The default is the current `value`.
CLI::Option* add_duration(CLI::App& command, const std::string& name, Duration& value,
                          const std::string& help, Duration min = Duration{0});

/// The same for a duration without a default.
CLI::Option* add_duration(CLI::App& command, const std::string& name, std::optional<Duration>& value,
                          const std::string& help, Duration min = Duration{0});

/// Adds an option that takes one of the names. The help shows them as {name,name}. The default is the current
/// `value`, which must be among the choices.
template <class T>
CLI::Option* add_choice(CLI::App& command, const std::string& name, T& value, const std::string& help,
                        const std::vector<std::pair<std::string, T>>& choices) {
  std::vector<std::string> names;
  std::string default_name;
  for (const auto& [choice, meaning] : choices) {
    names.push_back(choice);
    if (meaning == value) default_name = choice;
  }
  const auto read = [&value, choices](const std::string& text) {
    for (const auto& [choice, meaning] : choices) {
      if (choice == text) value = meaning;
    }
  };
  return command.add_option_function<std::string>(name, read, help)
      ->check(CLI::IsMember(names))
      ->default_str(default_name)
      ->run_callback_for_default(false);
}

enum class OutputFormat { text, json };

/// Adds `-o, --format {text,json}`.
CLI::Option* add_format(CLI::App& command, OutputFormat& format);

/// Writes the text to stdout at once. Throws Error if it or an earlier output was lost. run() checks for lost
/// output after every command; this is for large texts and for commands that go on.
void print(std::string_view text);

}  // namespace kms
