#include "supervisor/instance/binary.h"

#include <asio/post.hpp>
#include <filesystem>

#include "common/build_info/build_info.h"
#include "common/crypto/sha256.h"
#include "common/error.h"

namespace kms::supervisor {
namespace {

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_ctim.tv_sec == b.st_ctim.tv_sec && a.st_ctim.tv_nsec == b.st_ctim.tv_nsec;
}

/// The change time is left out: another mode or a further link makes no other program.
bool replaced(const std::string& path, const struct stat& started) {
  struct stat now {};
  return ::stat(path.c_str(), &now) != 0 || now.st_dev != started.st_dev || now.st_ino != started.st_ino ||
         now.st_size != started.st_size || now.st_mtim.tv_sec != started.st_mtim.tv_sec ||
         now.st_mtim.tv_nsec != started.st_mtim.tv_nsec;
}

}  // namespace

void Binaries::finish() {
  finished_ = true;
  thread_.join();
}

std::string Binaries::digest(const std::string& path) {
  struct stat now {};
  if (::stat(path.c_str(), &now) != 0) throw_errno("read " + path);
  const auto known = digests_.find(path);
  if (known != digests_.end() && same_file(known->second.file, now)) return known->second.sha256;
  return digests_.insert_or_assign(path, Digest{now, sha256_of_file(path).value_or("")}).first->second.sha256;
}

mock_kms::v1::BinaryOnDisk Binaries::read(const BinaryPaths& paths) {
  mock_kms::v1::BinaryOnDisk binary;
  binary.set_path(paths.program);
  binary.set_replaced(paths.started && replaced(paths.program, *paths.started));
  try {
    binary.set_sha256(digest(paths.program));
    std::string build_info = paths.build_info;
    if (build_info.empty()) {
      build_info = (std::filesystem::path(paths.program).parent_path() / build_info_name).string();
      if (!std::filesystem::exists(build_info)) return binary;
    }
    const auto file = read_build_info(build_info);
    if (!file)
      throw Error("cannot read " + build_info + ": missing or no build info", "build the plugin again");
    const auto describing = build_info_describing(*file, binary.sha256());
    binary.set_matches_build(describing.has_value());
    *binary.mutable_build() = describing.value_or(*file);
    binary.mutable_build()->clear_previous();
  } catch (const std::exception& error) {
    binary.set_problem(error.what());
  }
  return binary;
}

std::vector<mock_kms::v1::BinaryOnDisk> Binaries::read_all(const std::vector<BinaryPaths>& binaries) {
  std::vector<mock_kms::v1::BinaryOnDisk> found;
  found.reserve(binaries.size());
  for (const BinaryPaths& paths : binaries) found.push_back(read(paths));
  return found;
}

void Binaries::describe(std::vector<BinaryPaths> binaries, Described described) {
  if (finished_) return described(read_all(binaries));
  asio::post(thread_, [this, binaries = std::move(binaries), described = std::move(described)]() mutable {
    asio::post(loop_, [found = read_all(binaries), described = std::move(described)]() mutable {
      described(std::move(found));
    });
  });
}

}  // namespace kms::supervisor
