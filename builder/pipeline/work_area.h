// WorkArea is the directory that one build uses and leaves empty.
//
// It lies below --build-dir, always at the same path so that compiler caches hit, under a lock that one
// builder holds at a time. Children inherit the lock: those of a killed builder keep it until they are gone,
// so that they never write into the next build. The next holder removes their left-overs. Used on one thread.
// It touches nothing in --build-dir but its lock file and directory.
#pragma once

#include <filesystem>

#include "builder/run/interruption.h"
#include "common/io/fd.h"

namespace kms::builder {

class WorkArea {
 public:
  /// Makes `build_dir`, waits for the lock, removes left-overs. With `elsewhere` the directory is made there,
  /// and a link in `build_dir` names it. Throws Error, Interrupted.
  WorkArea(const std::filesystem::path& build_dir, const Interruption& interruption,
           const std::filesystem::path& elsewhere = {});
  WorkArea(const WorkArea&) = delete;
  WorkArea& operator=(const WorkArea&) = delete;

  /// Removes everything but the lock file. A failure is logged; the next run removes the rest.
  ~WorkArea();

  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  [[nodiscard]] std::filesystem::path source() const { return root_ / "src"; }
  [[nodiscard]] std::filesystem::path build() const { return root_ / "build"; }

  /// Pass it to children that write here.
  [[nodiscard]] int lock_fd() const { return lock_.get(); }

 private:
  UniqueFd lock_;
  std::filesystem::path place_;  ///< in `build_dir`: the directory, or a link to it
  std::filesystem::path root_;
};

/// $XDG_CACHE_HOME/mock-kms-builder, else ~/.cache/mock-kms-builder, else "". Never a name in a directory
/// that all users can write to.
[[nodiscard]] std::filesystem::path default_build_dir();

}  // namespace kms::builder
