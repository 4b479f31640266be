// Output publishes the binary and its build-info.json so that they always match.
//
// Used on one thread. While it lives it holds flock(2) on the directory: for milliseconds, or while an old
// binary is smoke-tested. Both files are written under temporary names with fsync(2), then renamed: first
// build-info.json, which also describes the binary that it replaces (`previous`), then the binary. A kill or
// a power loss thus leaves a whole binary, old or new, with a build-info.json that describes it. Temporary
// names are fixed, so that the next holder of the lock removes what a killed builder left.
#pragma once

#include <filesystem>
#include <optional>

#include "builder/publish/new_directories.h"
#include "builder/run/interruption.h"
#include "common/build_info/build_info.h"
#include "common/io/fd.h"

namespace kms::builder {

class Output {
 public:
  /// Makes the directory of `binary`, waits for its lock, checks that it is writable, and removes left-overs.
  /// If nothing is published, the destructor removes the directories that this made. Throws Error,
  /// Interrupted.
  Output(std::filesystem::path binary, const Interruption& interruption);
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  /// Removes a staged binary that was not published.
  ~Output();

  /// The record of the current binary; empty if either is missing or they do not match.
  [[nodiscard]] std::optional<mock_kms::v1::BuildInfo> current() const;

  /// Throws Error unless everybody may read and run the current binary.
  void check_mode() const;

  /// True if the file system is mounted noexec: no program runs there.
  [[nodiscard]] bool is_noexec() const;

  /// Copies the binary beside its place with mode 0755, and completes `info` with path, size and SHA-256.
  /// Returns the path of the copy. Throws Error.
  std::filesystem::path stage(int built, mock_kms::v1::BuildInfo& info);

  /// Moves the staged binary into place, with `info` as its record. Throws Error.
  void publish(const mock_kms::v1::BuildInfo& info);

  /// Replaces build-info.json alone: another commit gave the same binary. Throws Error.
  void replace_info(const mock_kms::v1::BuildInfo& info);

 private:
  void open_directory(const Interruption& interruption);
  void remove_staged() const;
  void stage_info(const mock_kms::v1::BuildInfo& info) const;
  void move_into_place(const std::filesystem::path& file) const;
  [[nodiscard]] std::filesystem::path info_path() const { return binary_.parent_path() / build_info_name; }

  std::filesystem::path binary_;
  UniqueFd directory_;
  NewDirectories made_;  ///< removed before the lock is released
};

}  // namespace kms::builder
