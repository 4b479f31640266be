// StateFile keeps which version of the key is the current one in a file of --state-dir, one file per
// instance.
//
// Used by KeyVersions, one call at a time. A file is replaced in one step and is on disk when write()
// returns; a damaged one is set aside under another name with a warning, neither trusted nor fatal. It holds
// no secret.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "common/io/fd.h"
#include "common/text/time.h"
#include "proto/provider_control.pb.h"

namespace kms::provider {

class StateFile {
 public:
  /// <directory>/<instance>.json. The directory is made where it is missing (mode 0700). Throws Error where
  /// it cannot be.
  StateFile(const std::filesystem::path& directory, std::string instance);

  /// What was written last; nothing where nothing was, or it was damaged. Throws Error where it cannot be
  /// read.
  [[nodiscard]] std::optional<mock_kms::v1::KeyState> read() const;

  /// The lock of the state, held until it is closed; empty, with a warning, where another process keeps it
  /// for longer than `patience`. Throws Error.
  [[nodiscard]] UniqueFd lock(Duration patience) const;

  /// Throws Error, and then the file is as it was.
  void write(const mock_kms::v1::KeyState& state) const;

 private:
  void set_aside(const std::string& why) const;

  std::filesystem::path directory_;
  std::filesystem::path path_;
  std::string instance_;
};

}  // namespace kms::provider
