#include "common/cli/usage_error.h"

#include <algorithm>
#include <cctype>
#include <sstream>
#include <vector>

#include "common/text/logins.h"
#include "common/text/nearest.h"

namespace kms {
namespace {

/// "--name" of each of a command's own options.
std::vector<std::string> long_options(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

/// `argument` for a message. A URL may hold a password, so only its scheme is shown.
std::string without_secrets(const std::string& argument) {
  if (argument.find('@') == std::string::npos && argument.find("://") == std::string::npos) return argument;
  const std::size_t scheme = argument.find("://");
  const bool has_scheme = scheme < argument.find('@');
  if (has_scheme && !can_hold_login(argument.substr(0, scheme))) return argument;
  return (has_scheme ? argument.substr(0, scheme) + "://" : "") + "...";
}

/// "a, b or c" of the names of commands.
std::string alternatives(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i)
    text += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + names[i];
  return text;
}

/// CLI11 writes "Could not convert: --name = value". Text that is not a number was refused before.
std::string conversion_text(const CLI::ParseError& error) {
  std::string text = error.what();
  const std::size_t name = text.find(": ");
  const std::size_t equals = text.find(" = ");
  if (name == std::string::npos || equals == std::string::npos) return text;
  return text.substr(name + 2, equals - name - 2) + ": '" + text.substr(equals + 3) + "' is too large";
}

/// "; did you mean '--encrypt'?" after "--name: encrpt not in {encrypt,decrypt}".
std::string did_you_mean_choice(const CLI::ParseError& error) {
  const std::string text = error.what();
  const std::size_t begin = text.find(": ");
  const std::size_t end = text.find(" not in {");
  if (begin == std::string::npos || end == std::string::npos || !text.ends_with("}") || begin + 2 > end)
    return "";
  std::vector<std::string> choices;
  std::istringstream list(text.substr(end + 9, text.size() - end - 10));
  for (std::string choice; std::getline(list, choice, ',');) choices.push_back(choice);
  return did_you_mean(text.substr(begin + 2, end - begin - 2), choices);
}

/// The nearest option, else one that ends alike: '--control-socket' for '--socket'. JSON has one option.
std::string did_you_mean_option(const std::string& unknown, const std::vector<std::string>& options) {
  if (const std::string near = did_you_mean(unknown, options); !near.empty()) return near;
  const auto has = [&](const std::string& option) {
    return std::find(options.begin(), options.end(), option) != options.end();
  };
  if (unknown == "--json" && has("--format")) return "; use --format json";
  for (const auto& [one, other] :
       {std::pair("--socket", "--listen-addr"), std::pair("--listen-addr", "--socket")})
    if (unknown == one && has(other)) return "; did you mean '" + std::string(other) + "'?";
  const std::string end = unknown.substr(std::min<std::size_t>(unknown.size(), 1));
  for (const std::string& option : options)
    if (end.size() > 1 && option.ends_with(end)) return "; did you mean '" + option + "'?";
  return "";
}

/// CLI11 writes "--name: At Most 1 required but received 2".
std::string mismatch_text(const CLI::ParseError& error) {
  const std::string text = error.what();
  const std::size_t end = text.find(": At Most 1 required");
  return end == std::string::npos ? text : text.substr(0, end) + " can be given only once";
}

/// "endpoint is missing: the plugin: unix:///path or ..." of the first required option without a value.
std::string missing_text(const CLI::App& command, const CLI::ParseError& error) {
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_required() || !option->empty()) continue;
    std::string meaning = option->get_description();
    if (meaning.size() > 1 && std::islower(static_cast<unsigned char>(meaning[1])) != 0)
      meaning[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(meaning[0])));
    return option->get_name() + " is missing: " + meaning;
  }
  return error.what();
}

/// Begins with "; ". Empty if nothing is known.
std::string next_step_after(const std::string& argument, const CLI::App& program, const CLI::App& command,
                            const std::vector<std::string>& commands, const UsageHints& hints) {
  const std::string near = did_you_mean(argument, commands);
  if (!near.empty()) return near;
  const auto owner = hints.elsewhere.find(argument);
  if (&command == &program && owner != hints.elsewhere.end())
    return "; it is a command of " + owner->second + ": '" + owner->second + " " + argument + "'";
  const auto next_step = hints.next_steps.find(&command);
  return next_step == hints.next_steps.end() ? "" : "; " + next_step->second;
}

}  // namespace

std::string describe_usage_error(const CLI::App& program, const CLI::ParseError& error,
                                 const UsageHints& hints) {
  const CLI::App* command = &program;
  std::string path = program.get_name();
  std::vector<std::string> options = long_options(program);  // of this command and its parents
  for (auto subs = command->get_subcommands(); !subs.empty(); subs = command->get_subcommands()) {
    command = subs.front();
    path += " " + command->get_name();
    for (std::string& name : long_options(*command)) options.push_back(std::move(name));
  }
  const std::string see_help = " (see '" + path + " --help')";
  // An unknown word explains more than the missing command that it causes.
  const bool about_words = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr ||
                           dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
  std::vector<std::string> rest = program.remaining(true);
  std::erase(rest, "--");
  const CLI::App* const group = command->get_subcommands({}).empty() ? &program : command;
  std::vector<std::string> commands;
  for (const CLI::App* sub : group->get_subcommands({})) commands.push_back(sub->get_name());
  if (rest.empty() && group == command && dynamic_cast<const CLI::RequiredError*>(&error) != nullptr)
    return "name a command: " + alternatives(commands) + see_help;
  if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr) return conversion_text(error) + see_help;
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) return mismatch_text(error) + see_help;
  if (!about_words) return error.what() + did_you_mean_choice(error) + see_help;
  if (rest.empty()) return missing_text(*command, error) + see_help;
  const std::string unknown = without_secrets(rest.front().substr(0, rest.front().find('=')));
  if (!unknown.starts_with("-"))
    return "unexpected argument '" + unknown + "'" +
           next_step_after(unknown, program, *command, commands, hints) + see_help;
  for (const CLI::App* sub : program.get_subcommands({})) {
    if (sub != command && std::find(rest.begin(), rest.end(), sub->get_name()) != rest.end())
      return "unknown option '" + unknown + "' before the command; put the options of '" + sub->get_name() +
             "' after it (see '" + program.get_name() + " " + sub->get_name() + " --help')";
  }
  return "unknown option '" + unknown + "'" + did_you_mean_option(unknown, options) + see_help;
}

}  // namespace kms
