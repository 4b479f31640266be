// Progress shows how far a long phase is; Phases names, times, logs and records the phases of a build.
//
// Used on one thread. Progress draws a bar on a terminal, and logs a line every few seconds elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <type_traits>
#include <vector>

#include "builder/run/interruption.h"
#include "common/error.h"
#include "common/text/time.h"
#include "proto/build_info.pb.h"

namespace kms::builder {

class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  /// `terminal`: draw a bar of at most `columns`.
  Progress(bool terminal, unsigned columns) : terminal_(terminal), columns_(columns) {}

  [[nodiscard]] static Progress for_stderr();

  /// `phase` such as "compile"; `detail` such as "1.2 MB". A total of 0 is unknown.
  void update(const std::string& phase, std::uint64_t done, std::uint64_t total, const std::string& detail,
              Clock::time_point now = Clock::now());

  /// Removes the bar. Call it before logging.
  void clear();

 private:
  bool terminal_;
  unsigned columns_;
  bool drawn_ = false;
  std::string logged_phase_;
  Clock::time_point logged_at_{};
};

/// "compile [=====>    ] 5/10  detail", at most `columns` wide.
[[nodiscard]] std::string bar(const std::string& phase, std::uint64_t done, std::uint64_t total,
                              const std::string& detail, unsigned columns);

/// "512 B", "47.6 kB", "44.0 MB".
[[nodiscard]] std::string human_bytes(std::uint64_t bytes);

/// A tool failed: carries the lines of its output that explain why.
class CompileError : public Error {
 public:
  CompileError(Error error, std::vector<std::string> lines)
      : Error(std::move(error)), lines_(std::move(lines)) {}
  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }

 private:
  std::vector<std::string> lines_;
};

/// "cannot use PATH: cause; next step".
[[nodiscard]] Error cannot_use(const std::filesystem::filesystem_error& error);

/// Runs `work` and throws its errors with the phase in front: "fetch: cannot ...: cause; next step".
template <class Work>
auto within(const std::string& phase, Work work) {
  try {
    return work();
  } catch (const Interrupted&) {
    throw;
  } catch (const CompileError& error) {
    throw CompileError(error.within(phase), error.lines());
  } catch (const Error& error) {
    throw error.within(phase);
  } catch (const std::filesystem::filesystem_error& error) {
    throw cannot_use(error).within(phase);
  }
}

class Phases {
 public:
  Phases(Progress& progress, mock_kms::v1::BuildInfo& info) : progress_(progress), info_(info) {}

  /// Runs `work` and records its duration. Throws as within() does.
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
