// KeyVersions decides which version of the key is current, sets it in the key ring and keeps it in a
// StateFile.
//
// Called from any thread; borrows the ring. A version becomes current only once: the next one is above all
// earlier ones (contract rule 15) unless the caller forces it. A version that cannot be stored does not
// become current.
#pragma once

#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "common/error.h"
#include "common/io/fd.h"
#include "common/text/time.h"
#include "proto/provider_control.pb.h"
#include "provider/keys/key_ring.h"

namespace kms::provider {

/// Keeps an instance's current version in a file of --state-dir. write() replaces the file in one step and
/// syncs it to disk. A damaged file is renamed with a warning: it is neither trusted nor fatal. It holds no
/// secret. One call at a time.
class StateFile {
 public:
  /// Uses `directory`/`instance`.json and makes the directory (mode 0700) if it is missing. Throws Error.
  StateFile(const std::filesystem::path& directory, std::string instance);

  /// The state that was written last; empty if there is none or it is damaged. Throws Error if the file
  /// cannot be read.
  [[nodiscard]] std::optional<mock_kms::v1::KeyState> read() const;

  /// Locks the state until the result is closed. Empty, with a warning, if another process holds the lock for
  /// longer than `max_wait`. Throws Error.
  [[nodiscard]] UniqueFd lock(Duration max_wait) const;

  /// Throws Error, and then the file is as it was.
  void write(const mock_kms::v1::KeyState& state) const;

 private:
  void set_aside(const std::string& cause) const;

  std::filesystem::path directory_;
  std::filesystem::path path_;
  std::string instance_;
};

class KeyVersions {
 public:
  /// The number of versions that the history keeps.
  static constexpr std::size_t max_uses = 64;

  struct Rotation {
    KeyVersion from;
    KeyVersion to;
  };
  using OnRotation = std::function<void(const Rotation&)>;

  /// Begins with the ring's current version, which is the declared one. Without a `file` nothing is kept.
  /// The rotating thread calls `on_rotation` after each change of version, one at a time.
  explicit KeyVersions(KeyRing& keys, std::optional<StateFile> file = std::nullopt,
                       OnRotation on_rotation = {});

  /// Continues from the stored version, unless it is below the declared one. Throws Error.
  void load();

  /// Takes the lock of the stored state, so that one process at a time rotates, and load()s. Waits a quarter
  /// of a second at most for the process that holds it: a process that hangs does not rotate. Throws Error.
  void acquire();

  /// Gives the lock to the next process. This process must not rotate after it.
  void release();

  /// Makes `to` current, or the version after the highest. Does nothing if `to` is current. Without `force`
  /// it refuses a version that is not above all earlier ones. Throws Error if the version cannot be stored;
  /// then nothing changed.
  [[nodiscard]] Outcome<Rotation> rotate(std::optional<KeyVersion> to, bool force);

  /// Makes `min` current unless an equal or higher version was. Throws as rotate() does.
  void rotate_up_to(KeyVersion min);

  /// The versions that were current, newest first.
  [[nodiscard]] mock_kms::v1::KeyState state() const;

  /// True if the current version survives a restart.
  [[nodiscard]] bool stored() const { return file_.has_value(); }

 private:
  [[nodiscard]] mock_kms::v1::KeyState with(KeyVersion version) const;
  void make_current(KeyVersion version);

  KeyRing& keys_;
  const std::optional<StateFile> file_;
  const KeyVersion declared_;
  const OnRotation on_rotation_;
  UniqueFd lock_;  ///< of the stored state

  mutable std::mutex mutex_;  ///< guards all below; one rotation at a time
  mock_kms::v1::KeyState state_;
};

}  // namespace kms::provider
