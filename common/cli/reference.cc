#include "common/cli/reference.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include "common/io/fd.h"

namespace kms::reference {
namespace {

/// A command with the words that lead to it: {"fault", "add"}; none for the program itself.
struct Node {
  const CLI::App* app;
  std::vector<std::string> words;
};

void collect(const CLI::App& app, const std::vector<std::string>& words, std::vector<Node>& nodes) {
  nodes.push_back({&app, words});
  for (const CLI::App* sub : app.get_subcommands({})) {
    std::vector<std::string> longer = words;
    longer.push_back(sub->get_name());
    collect(*sub, longer, nodes);
  }
}

std::vector<Node> nodes_of(const CLI::App& program) {
  std::vector<Node> nodes;
  collect(program, {}, nodes);
  return nodes;
}

std::string joined(const std::vector<std::string>& words, const std::string& separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

/// "-o" and "--format" of an option; nothing for a positional argument.
std::vector<std::string> names_of(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return names;
}

/// The options that a command understands: its own and the program's.
std::vector<const CLI::Option*> options_of(const CLI::App& program, const Node& node) {
  std::vector<const CLI::Option*> options;
  for (const CLI::Option* option : node.app->get_options()) options.push_back(option);
  if (node.app != &program) {
    for (const CLI::Option* option : program.get_options()) {
      const auto names = names_of(*option);
      if (!names.empty() && node.app->get_option_no_throw(names.back()) == nullptr) options.push_back(option);
    }
  }
  return options;
}

/// The values in "{text,json}".
std::vector<std::string> choices_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const std::size_t begin = type.find('{');
  const std::size_t end = type.find('}', begin);
  std::vector<std::string> choices;
  if (begin == std::string::npos || end == std::string::npos) return choices;
  std::istringstream list(type.substr(begin + 1, end - begin - 1));
  for (std::string choice; std::getline(list, choice, ',');) choices.push_back(choice);
  return choices;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

/// `text` for roff: a line must not begin with a control character, and "-" is a hyphen unless escaped.
std::string roff(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if ((c == '.' || c == '\'') && (escaped.empty() || escaped.back() == '\n')) escaped += "\\&";
    if (c == '\\') {
      escaped += "\\e";
    } else if (c == '-') {
      escaped += "\\-";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string option_entry(const CLI::Option& option) {
  std::vector<std::string> names = names_of(option);
  if (names.empty()) names.push_back(option.get_name(true));
  std::string text = ".TP\n\\fB" + roff(joined(names, ", ")) + "\\fR";
  if (option.get_items_expected_max() > 0 && !names_of(option).empty())
    text += " \\fI" + roff(type_of(option)) + "\\fR";
  text += "\n" + roff(option.get_description()) + ".";
  if (!option.get_default_str().empty()) text += " Default: " + roff(option.get_default_str()) + ".";
  if (option.get_required()) text += " Required.";
  if (!option.get_envname().empty()) text += " Environment: " + roff(option.get_envname()) + ".";
  return text + "\n";
}

std::string page(const CLI::App& program, const Node& node, const std::string& version) {
  std::vector<std::string> words{program.get_name()};
  words.insert(words.end(), node.words.begin(), node.words.end());
  const std::string name = joined(words, "-");
  const auto subs = node.app->get_subcommands({});
  std::string text = ".TH \"" + roff(name) + "\" 1 \"\" \"" + version + "\" \"mock\\-kms\\-plugin\"\n";
  text += ".SH NAME\n" + roff(name) + " \\- " + roff(first_line(node.app->get_description())) + "\n";
  text += ".SH SYNOPSIS\n\\fB" + roff(joined(words, " ")) + "\\fR";
  if (!subs.empty()) text += " [\\fICOMMAND\\fR]";
  text += " [\\fIOPTION\\fR]...";
  for (const CLI::Option* option : node.app->get_options()) {
    if (names_of(*option).empty()) text += " \\fI" + roff(option->get_name(true)) + "\\fR";
  }
  text += "\n.SH DESCRIPTION\n" + roff(node.app->get_description()) + "\n";
  if (!subs.empty()) {
    text += ".SH COMMANDS\n";
    for (const CLI::App* sub : subs)
      text += ".TP\n\\fB" + roff(name + "-" + sub->get_name()) + "\\fR(1)\n" +
              roff(first_line(sub->get_description())) + "\n";
  }
  text += ".SH OPTIONS\n";
  for (const CLI::Option* option : options_of(program, node)) text += option_entry(*option);
  if (!node.app->get_footer().empty()) text += ".SH NOTES\n.nf\n" + roff(node.app->get_footer()) + "\n.fi\n";
  return text;
}

/// The words that may follow: the subcommands and the options.
std::vector<std::string> words_after(const CLI::App& program, const Node& node) {
  std::vector<std::string> words;
  for (const CLI::App* sub : node.app->get_subcommands({})) words.push_back(sub->get_name());
  for (const CLI::Option* option : options_of(program, node)) {
    for (const std::string& name : names_of(*option)) words.push_back(name);
  }
  return words;
}

/// Shell code that sets `at` to the command that the words before the cursor name, as " fault add".
std::string case_of_commands(const std::vector<Node>& nodes) {
  std::vector<std::string> patterns;
  for (const Node& node : nodes) {
    if (!node.words.empty()) patterns.push_back("\" " + joined(node.words, " ") + "\"");
  }
  return "    case \"$at $word\" in " + joined(patterns, " | ") + ") at=\"$at $word\" ;; esac\n";
}

/// Branches of a shell's `case`: the choices of each option that has some.
std::string case_of_choices(const CLI::App& program, const std::vector<Node>& nodes) {
  std::string text;
  for (const Node& node : nodes) {
    for (const CLI::Option* option : options_of(program, node)) {
      const auto choices = choices_of(*option);
      if (choices.empty() || names_of(*option).empty()) continue;
      std::vector<std::string> patterns;
      for (const std::string& name : names_of(*option))
        patterns.push_back("\"" + (node.words.empty() ? "" : " " + joined(node.words, " ")) + " " + name +
                           "\"");
      text += "    " + joined(patterns, " | ") + ") answers=\"" + joined(choices, " ") + "\" ;;\n";
    }
  }
  return text;
}

std::string case_of_words(const CLI::App& program, const std::vector<Node>& nodes) {
  std::string text;
  for (const Node& node : nodes)
    text += "    \"" + (node.words.empty() ? "" : " " + joined(node.words, " ")) + "\") answers=\"" +
            joined(words_after(program, node), " ") + "\" ;;\n";
  return text;
}

/// bash and zsh share the code; they differ in how they name the words of the line and take the answers.
std::string posix_like(const CLI::App& program, bool zsh) {
  const auto nodes = nodes_of(program);
  std::string function = "_" + program.get_name();
  std::replace(function.begin(), function.end(), '-', '_');
  std::string text = zsh ? "#compdef " + program.get_name() + "\n" : "";
  text += function + "() {\n  local at='' word answers=''\n";
  text += zsh ? "  local previous=${words[CURRENT-1]}\n  for word in \"${(@)words[2,CURRENT-1]}\"; do\n"
              : "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
                "  [ \"$previous\" != = ] || previous=${COMP_WORDS[COMP_CWORD - 2]}\n"
                "  [ \"$current\" != = ] || { previous=${COMP_WORDS[COMP_CWORD - 1]} current=''; }\n"
                "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD - 1}\"; do\n";
  text += case_of_commands(nodes) + "  done\n  case \"$at $previous\" in\n" +
          case_of_choices(program, nodes) + "    *) case \"$at\" in\n" + case_of_words(program, nodes) +
          "    esac ;;\n  esac\n";
  text += zsh ? "  compadd -- ${=answers} || _files\n}\n"
              : "  mapfile -t COMPREPLY < <(compgen -W \"$answers\" -- \"$current\")\n}\n";
  return text + (zsh ? function + " \"$@\"\n"
                     : "complete -o default -F " + function + " " + program.get_name() + "\n");
}

std::string fish_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  return quoted + "'";
}

std::string fish(const CLI::App& program) {
  const auto nodes = nodes_of(program);
  std::string function = "__" + program.get_name() + "_at";
  std::replace(function.begin(), function.end(), '-', '_');
  std::vector<std::string> commands;
  for (const Node& node : nodes) {
    if (!node.words.empty()) commands.push_back(fish_quoted(joined(node.words, " ")));
  }
  std::string text = "function " + function +
                     "\n    set -l at ''\n    for word in (commandline -opc)[2..-1]\n"
                     "        set -l longer (string trim -- \"$at $word\")\n        contains -- $longer " +
                     joined(commands, " ") +
                     "; and set at $longer\n    end\n    test \"$at\" = \"$argv[1]\"\nend\n";
  const std::string begin = "complete -c " + program.get_name() + " -n ";
  for (const Node& node : nodes) {
    const std::string here = begin + fish_quoted(function + " " + fish_quoted(joined(node.words, " ")));
    for (const CLI::App* sub : node.app->get_subcommands({}))
      text += here + " -f -a " + sub->get_name() + " -d " + fish_quoted(first_line(sub->get_description())) +
              "\n";
    for (const CLI::Option* option : options_of(program, node)) {
      if (names_of(*option).empty()) continue;
      text += here;
      for (const std::string& name : option->get_snames()) text += " -s " + name;
      for (const std::string& name : option->get_lnames()) text += " -l " + name;
      if (const auto choices = choices_of(*option); !choices.empty()) {
        text += " -x -a " + fish_quoted(joined(choices, " "));
      } else if (option->get_items_expected_max() > 0) {
        text += " -r";
      }
      text += " -d " + fish_quoted(first_line(option->get_description())) + "\n";
    }
  }
  return text;
}

}  // namespace

std::string type_of(const CLI::Option& option) {
  const std::string name = option.get_type_name();
  const std::size_t colon = name.find(':');
  return name.substr(colon == std::string::npos ? 0 : colon + 1);
}

std::string completion(const CLI::App& program, const std::string& shell) {
  return shell == "fish" ? fish(program) : posix_like(program, shell == "zsh");
}

void for_each_command(CLI::App& program, const std::function<void(CLI::App&)>& visit) {
  visit(program);
  for (CLI::App* sub : program.get_subcommands({})) for_each_command(*sub, visit);
}

void write_manual(const CLI::App& program, const std::string& version, const std::string& directory) {
  for (const Node& node : nodes_of(program)) {
    const std::string name = joined(node.words, "-");
    write_file(directory + "/" + program.get_name() + (name.empty() ? "" : "-" + name) + ".1",
               page(program, node, version));
  }
}

}  // namespace kms::reference
