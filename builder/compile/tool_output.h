// CompilerOutput keeps what CMake, ninja or make and the compiler print, and finds in it what matters.
//
// Used on one thread; it does no I/O. It keeps the last 4,000 lines.
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
  /// The paths below `source` lose it: they read as in the repository. CMake tells some as relative to the
  /// project's directory, `project`, which is put before these.
  CompilerOutput(std::string source, std::string project)
      : source_(std::move(source)), project_(std::move(project)) {}

  /// Takes a line; returns how far the build is where the line tells it.
  std::optional<Step> add(std::string_view line);

  /// The first line that tells an error ("x.cc:3:1: error: ...", "CMake Error at ...", "undefined
  /// reference"), with the next one where CMake has broken its message; "" where there is none.
  [[nodiscard]] std::string first_error() const;

  /// The lines to show a person: from the first failure on, at most `most`.
  [[nodiscard]] std::vector<std::string> failure_lines(std::size_t most) const;

  [[nodiscard]] bool mentions(std::string_view words) const;

 private:
  [[nodiscard]] std::deque<std::string>::const_iterator first_failure() const;
  [[nodiscard]] std::string paragraph(const std::deque<std::string>::const_iterator& head) const;

  std::string source_;
  std::string project_;
  std::deque<std::string> lines_;
};

}  // namespace kms::builder
