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

/// Ignores the change time: another mode or another link makes no other program.
bool replaced(const std::string& path, const struct stat& started) {
  struct stat now {};
  return ::stat(path.c_str(), &now) != 0 || now.st_dev != started.st_dev || now.st_ino != started.st_ino ||
         now.st_size != started.st_size || now.st_mtim.tv_sec != started.st_mtim.tv_sec ||
         now.st_mtim.tv_nsec != started.st_mtim.tv_nsec;
}

}  // namespace

void BinaryReader::finish() {
  finished_ = true;
  thread_.join();
}

std::string BinaryReader::digest(const std::string& path) {
  struct stat now {};
  if (::stat(path.c_str(), &now) != 0) throw_errno("read " + path);
  const auto known = digests_.find(path);
  if (known != digests_.end() && same_file(known->second.file, now)) return known->second.sha256;
  return digests_.insert_or_assign(path, Digest{now, sha256_of_file(path).value_or("")}).first->second.sha256;
}

mock_kms::v1::BinaryOnDisk BinaryReader::read(const BinaryPaths& paths) {
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
    if (!file) throw file.error();
    const auto describing = build_info_describing(*file, binary.sha256());
    binary.set_matches_build(describing.has_value());
    *binary.mutable_build() = describing.value_or(*file);
    binary.mutable_build()->clear_previous();
  } catch (const std::exception& error) {
    binary.set_problem(error.what());
  }
  return binary;
}

std::vector<mock_kms::v1::BinaryOnDisk> BinaryReader::read_all(const std::vector<BinaryPaths>& binaries) {
  std::vector<mock_kms::v1::BinaryOnDisk> found;
  found.reserve(binaries.size());
  for (const BinaryPaths& paths : binaries) found.push_back(read(paths));
  return found;
}

void BinaryReader::describe(std::vector<BinaryPaths> binaries, Done done) {
  if (finished_) return done(read_all(binaries));
  asio::post(thread_, [this, binaries = std::move(binaries), done = std::move(done)]() mutable {
    asio::post(loop_,
               [found = read_all(binaries), done = std::move(done)]() mutable { done(std::move(found)); });
  });
}

BinaryWatch::BinaryWatch(BinaryReader& reader, PathWatch& paths, BinaryPaths binary, Record& record,
                         std::function<void()> restart)
    : reader_(reader), binary_(std::move(binary)), record_(record), restart_(std::move(restart)) {
  paths.add(binary_.program, [this] { read(); });
  read();
}

void BinaryWatch::read() {
  reader_.describe({binary_}, [this](const auto& found) { on_read(found.front()); });
}

/// Starts only a whole binary: one that the build-info.json beside it describes. A half-written one is read
/// again when it changes next. The first one that is read is the one that runs.
void BinaryWatch::on_read(const mock_kms::v1::BinaryOnDisk& found) {
  if (found.sha256().empty() || found.sha256() == sha256_) return;
  if (sha256_.empty()) {
    sha256_ = found.sha256();
    return;
  }
  if (!found.matches_build()) {
    log::warning(
        "the binary has changed and is not the one that build-info.json describes; it is not started",
        {{"binary", found.path()}, {"sha256", found.sha256()}});
    return;
  }
  sha256_ = found.sha256();
  record_.report(mock_kms::v1::BINARY_CHANGED, log::Level::info, "another binary was published",
                 {{"sha256", found.sha256()}, {"commit", found.build().commit()}});
  restart_();
}

}  // namespace kms::supervisor
