#include "builder/compile/tool_output.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>

namespace kms::builder {
namespace {

constexpr std::size_t kept_lines = 4000;

/// Error messages of GCC, clang, the linkers, CMake, go, ninja and make, the most specific first.
constexpr std::array<std::string_view, 9> error_words{
    "undefined reference to", "undefined symbol",        "error: ",       "CMake Error", ".go:",
    "Killed signal",          "No space left on device", "ninja: fatal:", "*** "};

std::optional<unsigned> take_number(std::string_view& text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  return text;
}

}  // namespace

std::optional<Step> step_of(std::string_view line) {
  if (!line.starts_with('[')) return std::nullopt;
  line.remove_prefix(1);
  const auto done = take_number(line);
  if (!done) return std::nullopt;
  if (line.starts_with("%]")) return Step{*done, 100};
  if (!line.starts_with('/')) return std::nullopt;
  line.remove_prefix(1);
  const auto total = take_number(line);
  if (!total || !line.starts_with(']') || *done > *total) return std::nullopt;
  return Step{*done, *total};
}

std::optional<Step> CompilerOutput::add(std::string_view line) {
  std::string text(line);
  const std::string prefix = source_ + "/";
  for (std::size_t at = 0; (at = text.find(prefix, at)) != std::string::npos;) text.erase(at, prefix.size());
  constexpr std::string_view cmake_error = "CMake Error at ";
  if (line.starts_with(cmake_error) && !line.substr(cmake_error.size()).starts_with('/')) {
    text.insert(cmake_error.size(), project_ + "/");
  }
  lines_.push_back(std::move(text));
  if (lines_.size() > kept_lines) lines_.pop_front();
  return step_of(line);
}

std::string CompilerOutput::first_error() const {
  for (const std::string_view words : error_words) {
    const auto found = std::find_if(lines_.begin(), lines_.end(), [&](const std::string& line) {
      return line.find(words) != std::string::npos;
    });
    if (found == lines_.end()) continue;
    return words == "CMake Error" ? paragraph(found) : *found;
  }
  return go_error();
}

/// Returns the first line by which the go command reports an error of its own, or "". It names no file.
std::string CompilerOutput::go_error() const {
  const auto found = std::ranges::find_if(lines_, [](const std::string& line) {
    return line.starts_with("go: ") && !line.starts_with("go: downloading ") &&
           !line.starts_with("go: warning");
  });
  if (found == lines_.end()) return "";
  const bool continues = found->ends_with(':') && found + 1 != lines_.end();
  return continues ? *found + " " + std::string(trimmed(found[1])) : *found;
}

std::vector<std::string> CompilerOutput::failure_lines(std::size_t max) const {
  const auto begin = first_failure();
  const auto count = std::min(max, static_cast<std::size_t>(lines_.end() - begin));
  return {begin, begin + static_cast<std::ptrdiff_t>(count)};
}

std::string CompilerOutput::paragraph(const std::deque<std::string>::const_iterator& head) const {
  std::string text = *head;
  const auto begin =
      std::find_if(head + 1, lines_.end(), [](const std::string& line) { return !line.empty(); });
  for (auto line = begin; line != lines_.end() && line->starts_with(' '); ++line)
    text += " " + std::string(trimmed(*line));
  return text;
}

bool CompilerOutput::mentions(std::string_view words) const {
  return std::any_of(lines_.begin(), lines_.end(),
                     [&](const std::string& line) { return line.find(words) != std::string::npos; });
}

std::deque<std::string>::const_iterator CompilerOutput::first_failure() const {
  const auto failed = std::find_if(lines_.begin(), lines_.end(), [](const std::string& line) {
    return line.starts_with("FAILED: ") || line.find("error: ") != std::string::npos ||
           line.starts_with("CMake Error") || line.starts_with("make: ***");
  });
  if (failed != lines_.end()) return failed;
  return lines_.end() - static_cast<std::ptrdiff_t>(std::min<std::size_t>(lines_.size(), 20));
}

}  // namespace kms::builder
