// KeyVersions decides which version of the key is the current one, tells the ring, and remembers it.
//
// Called from any thread; borrows the ring. A version becomes current once: the next one is always above all
// that were (contract rule 15), unless whoever asks forces it. What cannot be stored is not done.
#pragma once

#include <functional>
#include <mutex>
#include <optional>

#include "common/error.h"
#include "common/io/fd.h"
#include "provider/keys/key_ring.h"
#include "provider/keys/state_file.h"

namespace kms::provider {

class KeyVersions {
 public:
  /// How many versions are remembered as having been current.
  static constexpr std::size_t max_uses = 64;

  struct Rotation {
    KeyVersion from;
    KeyVersion to;
  };
  using OnRotation = std::function<void(const Rotation&)>;

  /// Begins with the ring's current version. `file` is empty where nothing is to be kept. `on_rotation` is
  /// told of each rotation that changed the version, by the thread that asked for it, one at a time.
  explicit KeyVersions(KeyRing& keys, std::optional<StateFile> file = std::nullopt,
                       OnRotation on_rotation = {});

  /// Goes on from what is stored, where that is there and not below what is declared (the version that the
  /// ring had first). Throws Error.
  void take_up_stored();

  /// Of the processes that share what is stored one at a time has its turn, and that one alone rotates. Waits
  /// for the one before it to end its turn, for a quarter of a second at most: what hangs does not rotate.
  /// Then goes on from what is stored. Throws Error.
  void begin_turn();

  /// What is stored is another process' from now on; this one must not rotate after it.
  void end_turn();

  /// Makes `to` current, or the one after the highest. To the current one: nothing is done. Refuses a version
  /// that is not above all earlier ones without `force`. Throws Error where it cannot be stored; then nothing
  /// changed.
  [[nodiscard]] Outcome<Rotation> rotate(std::optional<KeyVersion> to, bool force);

  /// Makes `least` the current version unless one as high was current already. Throws as rotate() does.
  void rotate_up_to(KeyVersion least);

  /// What was current, newest first, `max_uses` at most.
  [[nodiscard]] mock_kms::v1::KeyState state() const;

 private:
  [[nodiscard]] mock_kms::v1::KeyState with(KeyVersion version) const;
  void make_current(KeyVersion version);

  KeyRing& keys_;
  const std::optional<StateFile> file_;
  const KeyVersion declared_;
  const OnRotation on_rotation_;
  UniqueFd turn_;  ///< the lock of what is stored

  mutable std::mutex mutex_;  ///< guards all below, and that one rotates at a time
  mock_kms::v1::KeyState state_;
};

}  // namespace kms::provider
