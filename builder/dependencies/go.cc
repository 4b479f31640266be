#include "builder/dependencies/go.h"

#include <algorithm>
#include <cctype>

#include "common/text/lines.h"

namespace kms::builder {
namespace {

/// The words of a line without its comment; quoted words ("a b", `a b`) without their quotes.
std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> words;
  while (!line.empty()) {
    const char first = line.front();
    if (std::isspace(static_cast<unsigned char>(first)) != 0) {
      line.remove_prefix(1);
      continue;
    }
    if (line.starts_with("//")) break;
    if (first == '(' || first == ')') {
      words.emplace_back(1, first);
      line.remove_prefix(1);
      continue;
    }
    if (first == '"' || first == '`') {
      const std::size_t end = std::min(line.find(first, 1), line.size());
      words.emplace_back(line.substr(1, end - 1));
      line.remove_prefix(std::min(end + 1, line.size()));
      continue;
    }
    const std::size_t end = std::min(line.find_first_of(" \t\r()"), line.size());
    words.emplace_back(line.substr(0, end));
    line.remove_prefix(end);
  }
  return words;
}

/// A replacement by a directory begins with ./ or ../; others are modules or absolute paths.
bool is_directory(const std::string& word) {
  return word == "." || word == ".." || word.starts_with("./") || word.starts_with("../");
}

void take(const std::string& verb, const std::vector<std::string>& words, GoDirectories& directories) {
  if (words.empty()) return;
  if (verb == "use") directories.modules.push_back(words.front());
  const auto arrow = std::find(words.begin(), words.end(), "=>");
  if (verb == "replace" && arrow != words.end() && arrow + 1 != words.end() && is_directory(arrow[1]))
    directories.replacements.push_back(arrow[1]);
}

}  // namespace

GoDirectories go_directories(std::string_view text) {
  GoDirectories directories;
  std::string block;  // the verb of the block that a line is in
  for (const std::string_view line : lines_of(text)) {
    std::vector<std::string> words = words_of(line);
    if (words.empty()) continue;
    if (!block.empty()) {
      if (words.front() == ")") {
        block.clear();
      } else {
        take(block, words, directories);
      }
    } else if (words.size() > 1 && words[1] == "(") {
      block = words.front();
    } else {
      const std::string verb = words.front();
      words.erase(words.begin());
      take(verb, words, directories);
    }
  }
  return directories;
}

}  // namespace kms::builder
