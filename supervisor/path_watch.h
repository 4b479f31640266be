// PathWatch tells when something happens to a path, by inotify(7) on its folder: it came, went, was replaced
// or written.
//
// One for the whole program, since a user has few inotify instances (128 by default). On the loop's thread.
// It does not say what happened, nor to which file of the folder: the sink looks for itself. A folder that is
// removed or moved away is looked for each second, and its sinks are told when it is back.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <functional>
#include <string>
#include <vector>

namespace kms::supervisor {

class PathWatch {
 public:
  explicit PathWatch(asio::io_context& loop);

  /// From now on `sink` is told; it lives as long as this. Throws Error where the folder of `path` cannot be
  /// watched.
  void add(const std::string& path, std::function<void()> sink);

 private:
  static constexpr int lost = -1;

  struct Watch {
    std::string folder;
    int number;  ///< inotify's of the folder; lost where there is none
    std::function<void()> sink;
  };

  void wait();
  void read_events();
  void watch_lost();

  asio::posix::stream_descriptor descriptor_;
  asio::steady_timer lost_timer_;
  std::vector<Watch> watches_;
};

}  // namespace kms::supervisor
