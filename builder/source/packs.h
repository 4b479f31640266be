// PackSink writes a pack into a repository. PackInspector checks it first, byte by byte as it arrives.
//
// libgit2's indexer believes a pack: it allocates by the number of objects and by the size of a delta's
// result, and a few kilobytes can claim terabytes. PackInspector inflates every object into a small buffer,
// counts it and keeps nothing. Ids, bases and the pack's digest are left to libgit2, which checks each
// object's id when it is read (GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION is on by default). Format:
// gitformat-pack(5).
//
// One of each per pack, on the fetching thread.
#pragma once

#define ZLIB_CONST  // inflate() does not write to its input
#include <git2/sys/odb_backend.h>
#include <zlib.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "builder/git/libgit2.h"
#include "builder/source/fetch.h"

namespace kms::builder {

class PackInspector {
 public:
  static constexpr std::uint32_t max_objects = 8'000'000;  ///< ten times Kubernetes' whole history
  static constexpr std::uint32_t max_chain = 4096;         ///< of deltas; git makes no deeper ones

  /// `max_bytes` bounds the unpacked size of all objects together: deltas and their results both count.
  explicit PackInspector(std::uint64_t max_bytes);
  PackInspector(const PackInspector&) = delete;
  PackInspector& operator=(const PackInspector&) = delete;
  ~PackInspector();

  /// The next bytes of the pack. Throws Error if it is too large, lies about its size or is no pack.
  void add(std::string_view bytes);

  /// True if the pack's digest is complete.
  [[nodiscard]] bool complete() const;

 private:
  enum class At { pack_header, object_header, base_offset, base_id, body, trailer };

  void add_pack_header(unsigned char byte);
  void add_object_header(unsigned char byte);
  void add_base_offset(unsigned char byte);
  void begin_body();
  std::size_t inflate_some(std::string_view bytes);
  void end_object();
  void count_result();
  void count(std::uint64_t size);
  [[nodiscard]] std::uint32_t depth_of_base() const;
  void check_chains() const;

  /// The start of an object, for the deltas that name their base by its offset.
  struct Place {
    std::uint64_t offset;
    std::uint32_t depth;
  };

  std::uint64_t max_bytes_;
  std::uint64_t bytes_ = 0;   ///< unpacked so far
  std::uint64_t offset_ = 0;  ///< of the next byte
  At at_ = At::pack_header;
  std::string header_;      ///< of the pack, or of a base's id, as far as it has come
  std::uint32_t left_ = 0;  ///< objects
  unsigned type_ = 0;       ///< of the object
  unsigned shift_ = 0;      ///< of the next bits of its size
  std::uint64_t size_ = 0;  ///< that it says it has
  std::uint64_t inflated_ = 0;
  std::uint64_t distance_ = 0;   ///< to its base
  std::uint64_t id_deltas_ = 0;  ///< that name their base by its id
  std::uint32_t deepest_ = 0;    ///< chain of the others
  std::string delta_head_;       ///< the first bytes of a delta: the sizes of its base and of its result
  std::vector<Place> places_;
  z_stream zlib_{};
};

/// Opens directories of packs as one repository without refs and configuration. A new pack goes into the last
/// one, which is made if it does not exist. Each takes two directories instead of the nine of git-init(1).
/// Throws Error.
[[nodiscard]] git::Repository open_packs(const std::vector<std::filesystem::path>& directories);

class PackSink {
 public:
  PackSink(git_repository* repository, FetchMeter& meter);
  PackSink(const PackSink&) = delete;
  PackSink& operator=(const PackSink&) = delete;

  /// Throws git::GitError for a damaged pack, Error for one that PackInspector refuses.
  void append(std::string_view bytes);

  /// Ends the pack: its objects can be read from now on. Throws git::GitError if it is damaged.
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
