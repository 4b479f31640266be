#include "builder/dependencies/cmake.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <utility>

#include "builder/git/source_path.h"

namespace kms::builder {
namespace {

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

/// Cuts CMake's text into commands with their first arguments.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  /// The next command in lower case and its first argument; empty at the end.
  std::optional<std::pair<std::string, std::string>> next() {
    while (!text_.empty()) {
      if (skip_blank()) continue;
      std::string name;
      while (!text_.empty() && is_name(text_.front())) name += static_cast<char>(std::tolower(take()));
      skip_all_blank();
      if (name.empty() || text_.empty() || text_.front() != '(') {
        if (!text_.empty() && name.empty()) take();
        continue;
      }
      take();
      std::vector<std::string> arguments = read_arguments();
      return std::pair{std::move(name), arguments.empty() ? "" : std::move(arguments.front())};
    }
    return std::nullopt;
  }

 private:
  int take() {
    const char c = text_.front();
    text_.remove_prefix(1);
    return static_cast<unsigned char>(c);
  }

  /// Skips a bracket argument, `[==[ ... ]==]`, and returns its content; empty if there is none.
  std::optional<std::string> bracket() {
    if (text_.empty() || text_.front() != '[') return std::nullopt;
    const std::size_t second = text_.find_first_not_of('=', 1);
    if (second == std::string_view::npos || text_[second] != '[') return std::nullopt;
    const std::string closing = "]" + std::string(text_.substr(1, second - 1)) + "]";
    const std::size_t end = text_.find(closing, second + 1);
    const std::string content(text_.substr(second + 1, end - second - 1));
    text_.remove_prefix(end == std::string_view::npos ? text_.size() : end + closing.size());
    return content;
  }

  /// Skips a blank or a comment; false if neither is next.
  bool skip_blank() {
    if (text_.empty()) return false;
    if (is_space(text_.front())) {
      take();
      return true;
    }
    if (text_.front() != '#') return false;
    take();
    if (!bracket()) text_.remove_prefix(std::min(text_.find('\n'), text_.size()));
    return true;
  }

  void skip_all_blank() {
    while (skip_blank()) {
    }
  }

  std::string quoted() {
    std::string word;
    take();
    while (!text_.empty() && text_.front() != '"') {
      if (text_.front() == '\\' && text_.size() > 1) take();
      word += static_cast<char>(take());
    }
    if (!text_.empty()) take();
    return word;
  }

  std::string unquoted() {
    std::string word;
    while (!text_.empty() && !is_space(text_.front()) && text_.find_first_of("()#\"") != 0)
      word += static_cast<char>(take());
    return word;
  }

  std::vector<std::string> read_arguments() {
    std::vector<std::string> arguments;
    int depth = 1;
    while (!text_.empty() && depth > 0) {
      if (skip_blank()) continue;
      if (text_.front() == '(' || text_.front() == ')') {
        depth += take() == '(' ? 1 : -1;
      } else if (text_.front() == '"') {
        arguments.push_back(quoted());
      } else if (auto content = bracket()) {
        arguments.push_back(std::move(*content));
      } else {
        arguments.push_back(unquoted());
      }
    }
    return arguments;
  }

  std::string_view text_;
};

/// `argument` as a path in the repository; empty if it is absolute or uses other variables.
std::optional<std::string> resolve(std::string argument, const CMakeDirectories& directories) {
  const std::array<std::pair<std::string_view, const std::string*>, 4> known{
      {{"${CMAKE_CURRENT_SOURCE_DIR}", &directories.current},
       {"${CMAKE_CURRENT_LIST_DIR}", &directories.file},
       {"${CMAKE_SOURCE_DIR}", &directories.project},
       {"${PROJECT_SOURCE_DIR}", &directories.project}}};
  const std::string* base = &directories.current;
  for (const auto& [variable, directory] : known) {
    if (!argument.starts_with(variable)) continue;
    base = directory;
    argument.erase(0, variable.size());
    argument.erase(0, argument.find_first_not_of('/'));
    break;
  }
  if (argument.starts_with('/') || argument.find('$') != std::string::npos) return std::nullopt;
  return joined_path(*base, argument);
}

}  // namespace

std::vector<CMakeReference> cmake_references(std::string_view text, const CMakeDirectories& directories) {
  std::vector<CMakeReference> found;
  Reader reader(text);
  while (const auto command = reader.next()) {
    const auto& [name, argument] = *command;
    const bool directory = name == "add_subdirectory";
    // include() of a bare name loads a module of CMake.
    const bool file =
        name == "include" && (argument.find('/') != std::string::npos || argument.ends_with(".cmake"));
    if (argument.empty() || (!directory && !file)) continue;
    if (auto path = resolve(argument, directories))
      found.push_back(
          {directory ? CMakeReference::Kind::directory : CMakeReference::Kind::file, std::move(*path)});
  }
  return found;
}

}  // namespace kms::builder
