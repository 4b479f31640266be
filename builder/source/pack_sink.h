// PackSink puts the bytes of a pack into a repository's object database, through libgit2's indexer.
//
// One per pack, on the fetching thread. libgit2 checks the pack's own digest, and each object's id when it is
// read (GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION is on by default).
#pragma once

#include <git2/sys/odb_backend.h>

#include <string_view>

#include "builder/git/libgit2.h"
#include "builder/source/meter.h"
#include "builder/source/pack_inspector.h"

namespace kms::builder {

class PackSink {
 public:
  PackSink(git_repository* repository, FetchMeter& meter);
  PackSink(const PackSink&) = delete;
  PackSink& operator=(const PackSink&) = delete;

  /// Throws git::GitError for what is no pack, Error for one that PackInspector ends.
  void append(std::string_view bytes);

  /// The pack is complete: its objects can be read from now on. Throws git::GitError where it is damaged.
  void finish();

 private:
  static int on_progress(const git_indexer_progress* progress, void* self);

  struct Free {
    void operator()(git_odb_writepack* writer) const { writer->free(writer); }
  };

  FetchMeter& meter_;
  PackInspector inspector_;
  git::Database objects_;
  std::unique_ptr<git_odb_writepack, Free> writer_;
  git_indexer_progress progress_{};
};

}  // namespace kms::builder
