// Binaries tells what is known of the plugins' files: their SHA-256 and the build-info.json that the builder
// left beside them.
//
// Called on the loop's thread; files are read and digested on a thread of its own, since that takes tens of
// milliseconds for a large one. A digest is remembered by its file's inode, size and change time.
#pragma once

#include <sys/stat.h>

#include <asio/io_context.hpp>
#include <asio/thread_pool.hpp>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

struct BinaryPaths {
  std::string program;
  std::string build_info;                             ///< empty: beside the program, where it may be missing
  std::optional<struct stat> started = std::nullopt;  ///< the file that the process was started from
};

class Binaries {
 public:
  using Described = std::function<void(std::vector<mock_kms::v1::BinaryOnDisk>)>;

  explicit Binaries(asio::io_context& loop) : loop_(loop) {}
  Binaries(const Binaries&) = delete;
  Binaries& operator=(const Binaries&) = delete;

  ~Binaries() { finish(); }

  /// Waits until all that was asked for is read; what comes later is read at once, on the caller's thread.
  void finish();

  /// Reads the files as they are now and hands what they are to `described`, on the loop's thread, in the
  /// same order. What cannot be read is named in `problem`.
  void describe(std::vector<BinaryPaths> binaries, Described described);

 private:
  struct Digest {
    struct stat file;
    std::string sha256;
  };

  [[nodiscard]] std::vector<mock_kms::v1::BinaryOnDisk> read_all(const std::vector<BinaryPaths>& binaries);
  [[nodiscard]] mock_kms::v1::BinaryOnDisk read(const BinaryPaths& paths);
  [[nodiscard]] std::string digest(const std::string& path);

  asio::io_context& loop_;
  std::map<std::string, Digest> digests_;  ///< by path; on the thread alone
  bool finished_ = false;
  asio::thread_pool thread_{1};
};

}  // namespace kms::supervisor
