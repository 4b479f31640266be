// OomKills tells the kernel's out-of-memory kills from other SIGKILLs, by the kernel's own counter of them.
//
// Owned by the Supervisor, on the loop's thread. Its processes share the supervisor's cgroup, whose counter
// is `oom_kill` in memory.events (cgroup v2) or memory.oom_control (v1, Linux 4.13); without a memory cgroup
// it is the whole machine's in /proc/vmstat. The kernel counts before it sends the signal (mm/oom_kill.c).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace kms::supervisor {

class OomKills {
 public:
  /// Finds the counter of this process' cgroup below `root`, which is "/" but in tests.
  explicit OomKills(const std::filesystem::path& root = "/");

  /// To be called every few seconds. A kill that was counted before the last call but one and that nobody has
  /// claimed since hit another process of the cgroup, and is no cause for what dies from now on.
  void age();

  /// Whether a kill was counted that has not been claimed yet. Claims one: so of two processes that were
  /// killed at once and one counted kill, only one is taken for it.
  [[nodiscard]] bool claim();

  /// The counter's file; empty where there is none.
  [[nodiscard]] const std::filesystem::path& file() const { return file_; }

 private:
  [[nodiscard]] std::optional<std::uint64_t> count() const;

  std::filesystem::path file_;
  std::uint64_t seen_ = 0;  ///< claimed, or too old to be
  std::uint64_t aged_ = 0;  ///< counted at the last age()
};

}  // namespace kms::supervisor
