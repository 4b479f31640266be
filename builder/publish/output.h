// Output is where the binary and its build-info.json are published, as a pair that is never torn.
//
// Used on one thread; it holds flock(2) on the directory while it lives, for milliseconds or while an old
// binary is proven. Both files are first written under a temporary name beside their places, with fsync(2),
// then renamed: build-info.json first, which also describes the binary that it replaces (`previous`), then
// the binary. A kill or a power loss at any moment thus leaves a whole binary, old or new, and a
// build-info.json that describes it. Temporary names are fixed, so that whoever holds the lock next can
// remove what a killed builder left.
#pragma once

#include <filesystem>
#include <optional>

#include "builder/run/interruption.h"
#include "common/build_info/build_info.h"
#include "common/io/fd.h"

namespace kms::builder {

class Output {
 public:
  /// Makes the directory of `binary` where missing, waits for its lock, proves that it can be written, and
  /// removes left-overs. Throws Error, Interrupted.
  Output(std::filesystem::path binary, const Interruption& interruption);
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  /// Removes what was staged and not published.
  ~Output();

  /// The record of the binary that stands there; nothing where either is missing or they do not match.
  [[nodiscard]] std::optional<mock_kms::v1::BuildInfo> current() const;

  /// Throws Error where not everybody may read and run the binary that stands there.
  void check_mode() const;

  /// Copies what `built` holds beside its place with mode 0755, and completes `info` with path, size and
  /// SHA-256. Returns where the copy is until it is published. Throws Error.
  std::filesystem::path stage(int built, mock_kms::v1::BuildInfo& info);

  /// Moves what was staged into place, with `info` as its record. Throws Error.
  void publish(const mock_kms::v1::BuildInfo& info);

  /// Replaces build-info.json alone: the same binary has become known by another commit. Throws Error.
  void replace_info(const mock_kms::v1::BuildInfo& info);

 private:
  void remove_staged() const;
  void stage_info(const mock_kms::v1::BuildInfo& info) const;
  void move_into_place(const std::filesystem::path& file) const;
  [[nodiscard]] std::filesystem::path info_path() const { return binary_.parent_path() / build_info_name; }

  std::filesystem::path binary_;
  UniqueFd directory_;
};

}  // namespace kms::builder
