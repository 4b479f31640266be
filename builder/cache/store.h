// BuildCache keeps published binaries by their build key, and remembers the source of each commit.
//
// Any number of builders may use one directory at once, also from several pods on a node. An entry is filled
// under another name and then renamed, so that nobody sees half of one; a reader's descriptors outlive an
// eviction. Whoever can write the directory is trusted. Used on one thread. A cache that cannot be used costs
// a warning and time, never a build.
//   entries/KEY/{binary,build-info.json}   last used at the directory's time of modification
//   sources/COMMIT-SOURCE_KEY              a record with paths and their ids
//   new.*, damaged.*                       being filled; removed by the next eviction
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "common/io/fd.h"
#include "proto/build_info.pb.h"

namespace kms::builder {

struct CacheHit {
  UniqueFd binary;
  mock_kms::v1::BuildInfo info;
};

class BuildCache {
 public:
  /// With `max_bytes` 0 the cache keeps and finds nothing.
  BuildCache(std::filesystem::path directory, std::uint64_t max_bytes)
      : directory_(std::move(directory)), max_bytes_(max_bytes) {}

  /// The entry, marked as used. The caller compares the binary's digest with the record.
  [[nodiscard]] std::optional<CacheHit> find(const std::string& key) const;

  [[nodiscard]] bool holds(const std::string& key) const;

  /// Takes an entry out of the cache, with a warning that names it as `what`: "a damaged entry".
  void set_aside(const std::string& key, const std::string& what) const;

  /// Keeps a published binary, then removes the least recently used entries until all fit. Never throws.
  void store(const std::string& key, const std::filesystem::path& binary,
             const mock_kms::v1::BuildInfo& info) const;

  /// The paths and build system of a commit for a request with this key (source_key()).
  [[nodiscard]] std::optional<mock_kms::v1::BuildInfo> source(const std::string& commit,
                                                              const std::string& source_key) const;

  /// The commits for which source() has an answer.
  [[nodiscard]] std::set<std::string> commits(const std::string& source_key) const;

  /// Keeps the paths and build system of `info`. Never throws.
  void remember_source(const std::string& source_key, const mock_kms::v1::BuildInfo& info) const;

 private:
  void add_entry(const std::string& key, const std::filesystem::path& binary,
                 const mock_kms::v1::BuildInfo& info) const;
  void evict() const;
  void forget_old_sources() const;
  void remove_leftovers() const;

  std::filesystem::path directory_;
  std::uint64_t max_bytes_;
};

}  // namespace kms::builder
