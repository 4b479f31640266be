// CompilerOutput keeps the last 4,000 lines of CMake, go, ninja or make and the compiler, and finds the error
// in them.
//
// Used on one thread; it does no I/O.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kms::builder {

struct Step {
  unsigned done = 0;
  unsigned total = 0;
};

/// "[3/17] Building ..." of ninja, "[ 42%] Building ..." of make (then total is 100).
[[nodiscard]] std::optional<Step> step_of(std::string_view line);

class CompilerOutput {
 public:
  /// Paths are shown as in the repository: `source` is cut off, and `project` is put before the paths that
  /// CMake prints relative to the project's directory.
  CompilerOutput(std::string source, std::string project)
      : source_(std::move(source)), project_(std::move(project)) {}

  /// Takes a line; returns the progress if the line contains it.
  std::optional<Step> add(std::string_view line);

  /// The first line with an error ("x.cc:3:1: error: ...", "CMake Error at ...", "undefined reference"), with
  /// all lines of CMake's message; "" if there is none.
  [[nodiscard]] std::string first_error() const;

  /// The lines to show: from the first failure on, at most `max`.
  [[nodiscard]] std::vector<std::string> failure_lines(std::size_t max) const;

  [[nodiscard]] bool mentions(std::string_view words) const;

 private:
  [[nodiscard]] std::deque<std::string>::const_iterator first_failure() const;
  [[nodiscard]] std::string go_error() const;
  [[nodiscard]] std::string paragraph(const std::deque<std::string>::const_iterator& head) const;

  std::string source_;
  std::string project_;
  std::deque<std::string> lines_;
};

}  // namespace kms::builder
