#include "common/cli/command_line.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "common/cli/exit_code.h"
#include "common/cli/reference.h"
#include "common/io/fd.h"
#include "common/log/log.h"
#include "common/process/startup.h"
#include "common/text/escape.h"
#include "common/text/logins.h"

namespace kms {

extern const char* const program_version;  // version.cc.in

namespace {

constexpr auto help_footer = "Exit codes: 0 ok, 1 failed, 2 usage, 3 unreachable.";

std::string environment_name(const std::string& prefix, std::string option) {
  for (char& c : option) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return prefix + option;
}

/// --help, --version and the like have no environment variable.
bool is_about_program(const CLI::Option& option) {
  const auto& names = option.get_lnames();
  return names.empty() || names.front().starts_with("help") || names.front() == "version" ||
         names.front() == "completion" || names.front() == "manual";
}

/// Adds the environment variables of a command's own options to `names`.
void add_variables(const CLI::App& command, const std::string& prefix, std::vector<std::string>& names) {
  for (const CLI::Option* option : command.get_options()) {
    if (is_about_program(*option)) continue;
    names.push_back(option->get_envname().empty() ? environment_name(prefix, option->get_lnames().front())
                                                  : option->get_envname());
  }
}

/// Those of its subcommands too.
void add_all_variables(const CLI::App& command, const std::string& prefix, std::vector<std::string>& names) {
  add_variables(command, prefix, names);
  for (const CLI::App* sub : command.get_subcommands({})) add_all_variables(*sub, prefix, names);
}

/// The one of `prefixes` that the name begins with; empty if none.
std::string prefix_of(const std::string& name, const std::vector<std::string>& prefixes) {
  const auto found = std::find_if(prefixes.begin(), prefixes.end(),
                                  [&](const std::string& prefix) { return name.starts_with(prefix); });
  return found == prefixes.end() ? "" : *found;
}

/// True if an option of the command or a subcommand reads the variable.
bool reads_variable(const CLI::App& command, const std::string& name) {
  const auto options = command.get_options();
  const auto subs = command.get_subcommands({});
  return std::any_of(options.begin(), options.end(),
                     [&](const CLI::Option* option) { return option->get_envname() == name; }) ||
         std::any_of(subs.begin(), subs.end(), [&](const auto* sub) { return reads_variable(*sub, name); });
}

/// True for a variable that Kubernetes sets for a Service of that name: NAME_PORT=tcp://10.96.3.4:80.
bool is_service_link(const std::string& name, std::string_view value) {
  return name.ends_with("_PORT") &&
         (value.starts_with("tcp://") || value.starts_with("udp://") || value.starts_with("sctp://"));
}

/// "-name" or "-name=value" with a name of two letters or more: how Go writes long options.
bool is_go_style(std::string_view argument) {
  return argument.size() > 2 && argument[0] == '-' && argument[2] != '=' &&
         std::isalpha(static_cast<unsigned char>(argument[1])) != 0;
}

/// True if the command or a subcommand has a one-letter option that takes a value.
bool has_short_option(const CLI::App& command, char letter) {
  const auto matches = [letter](const CLI::Option* option) {
    const auto& names = option->get_snames();
    return option->get_items_expected_max() > 0 &&
           std::find(names.begin(), names.end(), std::string(1, letter)) != names.end();
  };
  const auto options = command.get_options();
  const auto subs = command.get_subcommands({});
  return std::any_of(options.begin(), options.end(), matches) ||
         std::any_of(subs.begin(), subs.end(),
                     [&](const auto* sub) { return has_short_option(*sub, letter); });
}

/// True if the command or a subcommand has the long option "--name".
bool has_long_option(const CLI::App& command, const std::string& name) {
  const auto subs = command.get_subcommands({});
  return command.get_option_no_throw("--" + name) != nullptr ||
         std::any_of(subs.begin(), subs.end(), [&](const auto* sub) { return has_long_option(*sub, name); });
}

/// True for the name of an option that takes a value, as an argument of its own: "--path", "-o".
bool takes_next_argument(const CLI::App& command, const std::string& argument) {
  if (argument.size() == 2 && argument[0] == '-') return has_short_option(command, argument[1]);
  if (!argument.starts_with("--")) return false;
  const CLI::Option* option = command.get_option_no_throw(argument);
  if (option != nullptr) return option->get_items_expected_max() > 0;
  const auto subs = command.get_subcommands({});
  return std::any_of(subs.begin(), subs.end(),
                     [&](const auto* sub) { return takes_next_argument(*sub, argument); });
}

/// Rewrites "-o=json" to "-ojson", as CLI11 reads it, and Go's "-name" to "--name".
std::string normalized_option(const CLI::App& app, std::string argument) {
  const bool one_dash = argument.size() > 2 && argument[0] == '-' && argument[1] != '-';
  if (one_dash && has_short_option(app, argument[1]) &&
      !has_long_option(app, argument.substr(1, argument.find('=') - 1))) {
    if (argument[2] == '=') argument.erase(2, 1);
  } else if (is_go_style(argument)) {
    argument.insert(0, 1, '-');
  }
  return argument;
}

/// Splits "--name=" into "--name" and "". CLI11 would take the next argument as the value.
std::vector<std::string> with_empty_values(const std::vector<std::string>& arguments) {
  std::vector<std::string> split;
  bool own = true;
  for (const std::string& argument : arguments) {
    own = own && argument != "--";
    if (own && argument.starts_with("--") && argument.find('=') == argument.size() - 1) {
      split.push_back(argument.substr(0, argument.size() - 1));
      split.emplace_back();
    } else {
      split.push_back(argument);
    }
  }
  return split;
}

/// Prints the options of nested commands too with --help-all. CLI11 2.6 passes a mode, earlier ones do not.
template <typename MakeExpanded>
class NestedFormatter;
template <typename... Mode>
class NestedFormatter<std::string (CLI::Formatter::*)(const CLI::App*, Mode...) const>
    : public CLI::Formatter {
 public:
  std::string make_expanded(const CLI::App* command, Mode... mode) const override {
    std::string text = CLI::Formatter::make_expanded(command, mode...);
    for (const CLI::App* nested : command->get_subcommands({}))
      text += "\n" + command->get_name() + " " + make_expanded(nested, mode...);
    return text;
  }
};

/// Prints the types of options as people read them.
class HelpFormatter : public NestedFormatter<decltype(&CLI::Formatter::make_expanded)> {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    std::string text = CLI::Formatter::make_option_opts(option);
    const std::string name = option->get_type_name();
    if (!name.empty() && text.starts_with(" " + name))
      text.replace(1, name.size(), reference::type_of(*option));
    // CLI11 2.4 shows the default as " [text]", earlier ones as "=text". An empty list is no default to show.
    const std::string value = option->get_default_str();
    const std::string shown = value == "[]" || value == "{}" ? "" : "=" + value;
    for (const std::string& form : {" [" + value + "]", "=" + value}) {
      const std::size_t at = value.empty() ? std::string::npos : text.find(form);
      if (at == std::string::npos) continue;
      text.replace(at, form.size(), shown);
      break;
    }
    return text;
  }
};

/// Refuses text that is not a number. CLI11 takes -1 as the largest unsigned number, and 010 as 8.
void check_numbers(CLI::App& command) {
  static const auto whole_number = [](const std::string& text) {
    const bool is_number =
        !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!is_number) throw CLI::ValidationError("'" + text + "' is not a whole number of 0 or more");
    std::uint64_t parsed = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), parsed).ec != std::errc{})
      throw CLI::ValidationError("'" + text + "' is too large");
    return text.substr(std::min(text.find_first_not_of('0'), text.size() - 1));
  };
  static const auto number = [](const std::string& text) {
    double parsed = 0;
    if (!CLI::detail::lexical_cast(text, parsed))
      throw CLI::ValidationError("'" + text + "' is not a number");
    return text;
  };
  static const auto size = [](const std::string& text) {
    if (text.starts_with('-')) throw CLI::ValidationError("'" + text + "' is negative");
    return text;
  };
  for (CLI::Option* option : command.get_options()) {
    const std::string type = option->get_type_name();
    if (type.starts_with("SIZE")) option->transform(size);
    if (type.starts_with("UINT")) option->transform(whole_number);
    if (type.starts_with("FLOAT")) option->transform(number);
  }
}

/// The chosen subcommands of a command, outermost first.
void for_each_chosen(CLI::App& command, const std::vector<std::string>& arguments,
                     const std::function<void(CLI::App&)>& visit) {
  for (CLI::App* sub : command.get_subcommands({})) {
    if (std::find(arguments.begin(), arguments.end(), sub->get_name()) == arguments.end()) continue;
    visit(*sub);
    for_each_chosen(*sub, arguments, visit);
  }
}

/// Why the option's checks refuse `text`; empty if they accept it.
std::string refusal(CLI::Option& option, std::string text) {
  std::string why;
  for (int i = 0; why.empty(); ++i) {
    try {
      why = (*option.get_validator(i))(text);
    } catch (const CLI::OptionNotFound&) {  // there are no more checks
      break;
    } catch (const CLI::ValidationError& error) {
      why = error.what();
    }
  }
  return why;
}

/// CLI11 2.4 passes over a variable whose value the option refuses. Throws CLI::ValidationError, as for a
/// value on the command line.
void check_environment(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    const char* value = option->get_envname().empty() ? nullptr : std::getenv(option->get_envname().c_str());
    if (value == nullptr || *value == '\0' || !option->empty()) continue;
    if (const std::string why = refusal(*option, value); !why.empty())
      throw CLI::ValidationError(option->get_name(), why);
  }
  for (CLI::App* command : app.get_subcommands()) check_environment(*command);
}

Duration read_duration(const std::string& name, const std::string& text, Duration min) {
  const Outcome<Duration> parsed = parse_duration(text);
  if (!parsed) throw CLI::ValidationError(name, parsed.error().line());
  if (*parsed < min)
    throw CLI::ValidationError(name, "'" + text + "' is too short; the minimum is " + go_duration(min));
  return *parsed;
}

}  // namespace

CommandLine::CommandLine(std::string program, const std::string& purpose, std::string env_prefix)
    : program_(std::move(program)), prefixes_{std::move(env_prefix)}, app_(purpose, program_) {
  process::start_in_known_state();
  app_.formatter(std::make_shared<HelpFormatter>());
  app_.set_help_flag("-h,--help", "Print this help and exit");
  app_.set_help_all_flag("--help-all", "Print the help of every command and exit");
  app_.set_version_flag("--version", program_ + " " + program_version, "Print the version and exit");
  const auto print_completion = [this](const std::string& shell) {
    throw CLI::CallForVersion(reference::completion(app_, shell), exit_code::ok);
  };
  app_.add_option_function<std::string>("--completion", print_completion,
                                        "Print the completion script of a shell and exit")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  const auto write_manual = [this](const std::string& directory) {
    if (!std::filesystem::is_directory(directory))
      throw CLI::ValidationError("--manual", in_quotes(directory) + " is not a directory; create it first");
    reference::for_each_command(app_, [this](CLI::App& command) { add_environment(command); });
    reference::write_manual(app_, program_version, directory);
    throw CLI::CallForVersion("manual pages written to " + directory, exit_code::ok);
  };
  app_.add_option_function<std::string>("--manual", write_manual,
                                        "Write the manual page of every command to a directory and exit")
      ->type_name("DIR");
  app_.add_option("--log-level", log_level_, "Lowest level to log")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
  app_.add_option("--log-format", log_format_, "Format of the log lines on stderr")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app_.fallthrough();
  app_.footer(help_footer);
}

CLI::App& CommandLine::add_subcommand(const std::string& name, const std::string& help,
                                      const std::vector<std::string>& lines) {
  CLI::App& command = *app_.add_subcommand(name, help);
  examples(command, lines);
  return command;
}

CLI::App& CommandLine::add_nested(CLI::App& parent, const std::string& name, const std::string& help,
                                  const std::vector<std::string>& lines, const std::string& more) {
  CLI::App& command = *parent.add_subcommand(name, help);
  examples(command, lines);
  command.footer(more + command.get_footer());
  show_options_of(parent, command);
  return command;
}

void CommandLine::show_options_of(const CLI::App& parent, CLI::App& command) {
  command.footer([&parent] {  // when it is printed the options have their environment variables
    std::string rows = "Options of '" + parent.get_name() + "', which work here too:\n";
    for (const CLI::Option* option : parent.get_options()) {
      if (!is_about_program(*option)) rows += HelpFormatter().make_option(option, false);
    }
    return rows;
  });
}

void CommandLine::accept_log_level(const std::string& word, const std::string& means) {
  app_.get_option("--log-level")->transform([word, means](const std::string& given) {
    return given == word ? means : given;
  });
}

void CommandLine::accept_log_level_variable(const std::string& variable) {
  more_variables_.push_back(variable);
  const std::string own = environment_name(prefixes_.front(), "log-level");
  if (std::getenv(variable.c_str()) != nullptr && std::getenv(own.c_str()) == nullptr)
    app_.get_option("--log-level")->envname(variable);
}

void CommandLine::examples(CLI::App& command, const std::vector<std::string>& lines) {
  std::string text = "Examples:\n";
  for (const std::string& line : lines) text += "  " + line + "\n";
  command.footer(text + "\n" + help_footer);
}

int CommandLine::run(int argc, const char* const* argv) {
  if (const auto code = parse(argc, argv)) return *code;
  const auto chosen = std::find_if(commands_.begin(), commands_.end(),
                                   [](const Command& command) { return command.app->parsed(); });
  if (chosen == commands_.end()) return usage_error("no command (see '" + program_ + " --help')");
  if (chosen->long_running) warn_of_environment(*chosen->app);
  try {
    return finish(chosen->run(), "");
  } catch (const Error& error) {
    return report(error);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", program_.c_str(), error.what());
    return exit_code::failed;
  }
}

int CommandLine::report(const Error& error) const {
  if (error.code() == ErrorCode::invalid_input) return usage_error(error.line());
  std::fprintf(stderr, "%s: %s\n", program_.c_str(), error.what());
  return exit_code::of(error.code());
}

/// A command that failed keeps its code.
int CommandLine::finish(int code, const std::string& output) const {
  try {
    print(output);
    return code;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s: %s\n", program_.c_str(), error.what());
    return code == exit_code::ok ? exit_code::failed : code;
  }
}

std::optional<int> CommandLine::parse(int argc, const char* const* argv) {
  service_links_ = remove_service_links();
  std::vector<std::string> arguments = normalized(argc, argv);
  add_environment(app_);
  // Only the chosen command reads its environment: commands may share the storage of options, and CLI11 would
  // let the variable of another command overwrite an option of this one.
  for_each_chosen(app_, arguments, [this](CLI::App& chosen) {
    add_environment(chosen);
    check_numbers(chosen);
  });
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them last first
  try {
    app_.parse(std::move(arguments));
    check_environment(app_);
  } catch (const CLI::Success& help_or_version) {
    std::ostringstream text;
    app_.exit(help_or_version, text);
    return finish(exit_code::ok, text.str());
  } catch (const CLI::ParseError& error) {
    return usage_error(describe_usage_error(app_, error, hints_));
  } catch (const Error& error) {  // of --manual
    return report(error);
  }
  const log::Level level = log_level_ == "debug"     ? log::Level::debug
                           : log_level_ == "warning" ? log::Level::warning
                           : log_level_ == "error"   ? log::Level::error
                                                     : log::Level::info;
  log::configure(program_, level, log_format_ == "json" ? log::Format::json : log::Format::text);
  return std::nullopt;
}

int CommandLine::usage_error(const std::string& line) const {
  const std::string text =
      program_ + ": " + without_logins_of_words(without_logins(line));  // a URL may be in the wrong place
  std::fprintf(stderr, "%s\n", text.c_str());
  if (report_usage_error_) report_usage_error_(text);
  return exit_code::usage;
}

std::vector<std::string> CommandLine::normalized(int argc, const char* const* argv) const {
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  const bool names_command = !arguments.empty() && !arguments[0].starts_with('-');
  const bool is_about_all =
      !arguments.empty() &&
      (arguments[0] == "-h" || arguments[0].find("help") < 3 || arguments[0].find("version") < 3 ||
       arguments[0].starts_with("--completion") || arguments[0].starts_with("--manual"));
  if (!default_command_.empty() && !names_command && !is_about_all) {
    arguments.insert(arguments.begin(), default_command_);
  }
  const auto own_end = std::find(arguments.begin(), arguments.end(), "--");
  for (auto argument = arguments.begin(); argument != own_end; ++argument) {
    *argument = normalized_option(app_, std::move(*argument));
    if (takes_next_argument(app_, *argument) && argument + 1 != own_end)
      ++argument;  // a value stays as it is
  }
  return with_empty_values(arguments);
}

void CommandLine::add_environment(CLI::App& command) const {
  for (CLI::Option* option : command.get_options()) {
    if (!is_about_program(*option) && option->get_envname().empty())
      option->envname(environment_name(prefixes_.front(), option->get_lnames().front()));
  }
}

/// With NAME_PORT go NAME_PORT_80_TCP, NAME_SERVICE_HOST and the like.
std::vector<std::string> CommandLine::remove_service_links() const {
  std::vector<std::string> removed;
  std::vector<std::string> names;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable(*entry);
    const std::size_t end = std::min(variable.find('='), variable.size());
    names.emplace_back(variable.substr(0, end));
    if (prefix_of(names.back(), prefixes_).empty() && !reads_variable(app_, names.back())) continue;
    if (is_service_link(names.back(), variable.substr(std::min(end + 1, variable.size())))) {
      removed.push_back(names.back());
    }
  }
  for (const std::string& link : std::vector(removed)) {
    const std::string service = link.substr(0, link.size() - std::string_view("PORT").size());
    for (const std::string& name : names) {
      if (name.starts_with(link + "_") || name.starts_with(service + "SERVICE_")) removed.push_back(name);
    }
  }
  for (const std::string& name : removed) ::unsetenv(name.c_str());
  return removed;
}

void CommandLine::warn_of_environment(const CLI::App& command) const {
  if (!service_links_.empty()) {
    log::warning(
        "ignored " + service_links_.front() +
        ", which Kubernetes sets for a Service of that name; set enableServiceLinks: false in the pod");
  }
  std::vector<std::string> known = more_variables_;
  add_all_variables(app_, prefixes_.front(), known);
  std::vector<std::string> own;
  add_variables(app_, prefixes_.front(), own);
  add_all_variables(command, prefixes_.front(), own);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable(*entry);
    const std::string name(variable.substr(0, variable.find('=')));
    const std::string prefix = prefix_of(name, prefixes_);
    if (prefix.empty() || std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::vector<std::string> candidates;
    for (const std::string& candidate : own) {
      if (candidate.starts_with(prefix)) candidates.push_back(candidate.substr(prefix.size()));
    }
    const std::string near = nearest(name.substr(prefix.size()), candidates);
    log::warning("unknown environment variable " + name + " has no effect" +
                 (near.empty() ? "" : "; did you mean " + prefix + near + "?"));
  }
}

CLI::Option* add_duration(CLI::App& command, const std::string& name, std::optional<Duration>& value,
                          const std::string& help, Duration min) {
  const auto read = [&value, name, min](const std::string& text) { value = read_duration(name, text, min); };
  return command.add_option_function<std::string>(name, read, help)->type_name("DURATION");
}

CLI::Option* add_duration(CLI::App& command, const std::string& name, Duration& value,
                          const std::string& help, Duration min) {
  const auto read = [&value, name, min](const std::string& text) { value = read_duration(name, text, min); };
  return command.add_option_function<std::string>(name, read, help)
      ->type_name("DURATION")
      ->default_str(go_duration(value))
      ->run_callback_for_default(false);
}

void print(std::string_view text) {
  errno = 0;
  if (std::fflush(stdout) != 0 || !write_all(STDOUT_FILENO, text)) throw_errno("write to standard output");
  if (std::ferror(stdout) != 0) throw Error("cannot write to standard output");
}

CLI::Option* add_format(CLI::App& command, OutputFormat& format) {
  return add_choice<OutputFormat>(command, "-o,--format", format, "Format of the output on stdout",
                                  {{"text", OutputFormat::text}, {"json", OutputFormat::json}});
}

}  // namespace kms
