// WorkArea is the directory that one build uses and leaves empty.
//
// It lives below --build-dir, always at the same place so that paths in compiler caches repeat, under a lock
// that one builder holds at a time. Children inherit the lock: those of a builder that was killed keep it
// until they are gone, so that they never write into the next build. What a killed builder left is removed
// when the next one has the lock. Used on one thread. It never touches anything in --build-dir but its own
// lock file and directory.
#pragma once

#include <filesystem>

#include "builder/run/interruption.h"
#include "common/io/fd.h"

namespace kms::builder {

class WorkArea {
 public:
  /// Makes `build_dir` if missing, waits for the lock, removes left-overs. Throws Error, Interrupted.
  WorkArea(const std::filesystem::path& build_dir, const Interruption& interruption);
  WorkArea(const WorkArea&) = delete;
  WorkArea& operator=(const WorkArea&) = delete;

  /// Removes everything but the lock file; what cannot be removed is logged and left to the next run.
  ~WorkArea();

  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  [[nodiscard]] std::filesystem::path source() const { return root_ / "src"; }
  [[nodiscard]] std::filesystem::path build() const { return root_ / "build"; }

  /// To be passed on to children that write here.
  [[nodiscard]] int lock_fd() const { return lock_.get(); }

 private:
  UniqueFd lock_;
  std::filesystem::path root_;
};

/// $XDG_CACHE_HOME/mock-kms-builder, else ~/.cache/mock-kms-builder, else "": a name in a directory that all
/// users write to could be taken by another one.
[[nodiscard]] std::filesystem::path default_build_dir();

}  // namespace kms::builder
