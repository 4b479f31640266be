// BinaryReader reads the plugins' files, and BinaryWatch asks for a restart when a new one is published.
//
// Both are used on the loop's thread. The reader digests files on a thread of its own, since a large one
// takes tens of milliseconds. It caches a digest by the file's inode, size and change time.
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
#include "supervisor/history/record.h"
#include "supervisor/instance/path_watch.h"

namespace kms::supervisor {

struct BinaryPaths {
  std::string program;
  std::string build_info;                             ///< "": beside the program, if it is there
  std::optional<struct stat> started = std::nullopt;  ///< the file that the process was started from
};

class BinaryReader {
 public:
  using Done = std::function<void(std::vector<mock_kms::v1::BinaryOnDisk>)>;

  explicit BinaryReader(asio::io_context& loop) : loop_(loop) {}
  BinaryReader(const BinaryReader&) = delete;
  BinaryReader& operator=(const BinaryReader&) = delete;

  ~BinaryReader() { finish(); }

  /// Waits for the reads in progress. A later describe() reads on the caller's thread.
  void finish();

  /// Reads SHA-256 and build-info.json of the files, and passes them to `done` in the same order. An error is
  /// in the field `problem`.
  void describe(std::vector<BinaryPaths> binaries, Done done);

 private:
  struct Digest {
    struct stat file;
    std::string sha256;
  };

  [[nodiscard]] std::vector<mock_kms::v1::BinaryOnDisk> read_all(const std::vector<BinaryPaths>& binaries);
  [[nodiscard]] mock_kms::v1::BinaryOnDisk read(const BinaryPaths& paths);
  [[nodiscard]] std::string digest(const std::string& path);

  asio::io_context& loop_;
  std::map<std::string, Digest> digests_;  ///< by path; used on the thread alone
  bool finished_ = false;
  asio::thread_pool thread_{1};
};

class BinaryWatch {
 public:
  /// Everything outlives this. `restart` is called on the loop's thread.
  BinaryWatch(BinaryReader& reader, PathWatch& paths, BinaryPaths binary, Record& record,
              std::function<void()> restart);
  BinaryWatch(const BinaryWatch&) = delete;
  BinaryWatch& operator=(const BinaryWatch&) = delete;

 private:
  void read();
  void on_read(const mock_kms::v1::BinaryOnDisk& found);

  BinaryReader& reader_;
  BinaryPaths binary_;
  Record& record_;
  std::function<void()> restart_;
  std::string sha256_;  ///< of the binary that runs, or of the newest that was tried
};

}  // namespace kms::supervisor
