// OomKills tells the kernel's out-of-memory kills from other SIGKILLs, by the kernel's own counter.
//
// The Supervisor owns it, on the loop's thread. The plugins share the supervisor's cgroup, whose counter is
// `oom_kill` in memory.events (cgroup v2) or memory.oom_control (v1, Linux 4.13). Without a memory cgroup it
// is the machine's, in /proc/vmstat. The kernel counts before it sends the signal (mm/oom_kill.c).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace kms::supervisor {

class OomKills {
 public:
  /// Finds the counter of this process' cgroup below `root`, which is "/" except in tests.
  explicit OomKills(const std::filesystem::path& root = "/");

  /// To be called every few seconds. A kill that was counted before the last call but one, and that nobody
  /// has claimed, hit another process of the cgroup. It explains no later death.
  void age();

  /// True if a kill was counted that has not been claimed yet; claims it. If two processes were killed and
  /// one kill was counted, only the first is taken for it.
  [[nodiscard]] bool claim();

  /// The counter's file; empty if there is none.
  [[nodiscard]] const std::filesystem::path& file() const { return file_; }

 private:
  [[nodiscard]] std::optional<std::uint64_t> count() const;

  std::filesystem::path file_;
  std::uint64_t seen_ = 0;  ///< claimed, or too old
  std::uint64_t aged_ = 0;  ///< counted at the last age()
};

}  // namespace kms::supervisor
