// FileWatch tells when the file at a path may have another content: it was written, replaced by a rename, or
// a link on the way to it leads elsewhere (a mounted ConfigMap's `..data`).
//
// Made and used by one thread. inotify(7) does the work; nothing is polled. A write counts when the writer
// closes the file. It never reads the file.
#pragma once

#include <set>
#include <string>

#include "common/io/fd.h"

namespace kms::provider {

class FileWatch {
 public:
  /// Watches from now on; the file need not be there, its directory must be. Throws Error.
  explicit FileWatch(std::string path);

  /// Readable when changed() has something to look at.
  [[nodiscard]] int fd() const { return fd_.get(); }

  /// Takes what happened; whether the file may have changed. Throws Error.
  [[nodiscard]] bool changed();

 private:
  void watch_directories();

  std::string path_;
  UniqueFd fd_;
  std::set<std::string> names_;  ///< of files and links on the way to the content, in the directories watched
};

}  // namespace kms::provider
