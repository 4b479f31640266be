// Phases names, times and logs the parts of a build, and puts them on its record.
//
// Used on one thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <type_traits>
#include <vector>

#include "builder/run/progress.h"
#include "common/text/time.h"
#include "proto/build_info.pb.h"

namespace kms::builder {

/// The tool failed: an Error that also carries the lines that a person wants to see first.
class CompileError : public Error {
 public:
  CompileError(Error failure, std::vector<std::string> lines)
      : Error(std::move(failure)), lines_(std::move(lines)) {}
  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }

 private:
  std::vector<std::string> lines_;
};

/// A phase failed: what() reads "fetch: cannot ...: cause; hint".
class PhaseError : public Error {
 public:
  PhaseError(const std::string& phase, const Error& failure, std::vector<std::string> tool_lines)
      : Error(failure.within(phase)), tool_lines_(std::move(tool_lines)) {}

  /// What the failing tool printed, to be shown before the line.
  [[nodiscard]] const std::vector<std::string>& tool_lines() const { return tool_lines_; }

 private:
  std::vector<std::string> tool_lines_;
};

/// Runs `work` so that its failures carry the phase's name.
template <class Work>
auto within(const std::string& phase, Work work) {
  try {
    return work();
  } catch (const CompileError& error) {
    throw PhaseError(phase, error, error.lines());
  } catch (const Error& error) {
    throw PhaseError(phase, error, {});
  } catch (const std::filesystem::filesystem_error& error) {
    throw PhaseError(phase, Error("cannot use " + error.path1().string() + ": " + error.code().message()),
                     {});
  }
}

class Phases {
 public:
  Phases(Progress& progress, mock_kms::v1::BuildInfo& info) : progress_(progress), info_(info) {}

  template <class Work>
  std::invoke_result_t<Work> run(const std::string& name, Work work) {
    const auto begin = std::chrono::steady_clock::now();
    const auto finish = [&] {
      progress_.clear();
      note(name, std::chrono::steady_clock::now() - begin);
    };
    if constexpr (std::is_void_v<std::invoke_result_t<Work>>) {
      within(name, work);
      finish();
    } else {
      auto result = within(name, work);
      finish();
      return result;
    }
  }

  void note(const std::string& name, Duration duration);

 private:
  Progress& progress_;
  mock_kms::v1::BuildInfo& info_;
};

}  // namespace kms::builder
