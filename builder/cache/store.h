// BuildCache keeps published binaries by their build key, and which sources a commit stands for.
//
// A directory that any number of builders may use at once, also from several pods on one node. Every entry is
// a directory that is filled under another name and then renamed, so that nobody sees half of one; a reader
// holds descriptors, which outlive an eviction. Whoever can write the directory is trusted. Used on one
// thread. A cache that cannot be used costs a warning and time, never a build.
//   entries/KEY/{binary,build-info.json}   used last when its time of modification says
//   sources/COMMIT-QUESTION                a record with paths and their ids: see SourceQuestion
//   new.*, damaged.*                       being filled; set aside until the next eviction
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
  /// `max_bytes` 0: nothing is kept and nothing found.
  BuildCache(std::filesystem::path directory, std::uint64_t max_bytes)
      : directory_(std::move(directory)), max_bytes_(max_bytes) {}

  /// The entry, its binary's digest not yet compared with its record. It counts as used now.
  [[nodiscard]] std::optional<CacheHit> find(const std::string& key) const;

  [[nodiscard]] bool holds(const std::string& key) const;

  /// Takes an entry out of which `what` ("a damaged entry") is true, with a warning.
  void set_aside(const std::string& key, const std::string& what) const;

  /// Keeps a published binary, then removes what was not used for longest until all fit. Never throws.
  void store(const std::string& key, const std::filesystem::path& binary,
             const mock_kms::v1::BuildInfo& info) const;

  /// What a commit was found to stand for, by the digest of everything that was asked of it.
  [[nodiscard]] std::optional<mock_kms::v1::BuildInfo> source(const std::string& commit,
                                                              const std::string& question) const;

  /// The commits for which there is an answer to the question.
  [[nodiscard]] std::set<std::string> commits(const std::string& question) const;

  /// Keeps paths and build system of `info`. Never throws.
  void remember_source(const std::string& question, const mock_kms::v1::BuildInfo& info) const;

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
