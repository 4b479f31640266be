// PathWatch tells when something happens to a path, by inotify(7) on its directory: it came, went, was
// replaced or written.
//
// One for the whole program, since a user has few inotify instances (128 by default). On the loop's thread.
// It does not say what happened, nor to which file of the directory: the sink looks for itself. A directory
// that is not there, is removed or moved away, or that inotify has no room for is looked at each second
// instead, and its sinks are told as often.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace kms::supervisor {

class PathWatch {
 public:
  explicit PathWatch(asio::io_context& loop);

  /// From now on `sink` is told; it lives as long as this.
  void add(const std::string& path, std::function<void()> sink);

 private:
  static constexpr int lost = -1;

  struct Watch {
    std::string directory;
    int number;  ///< inotify's of the directory; lost where there is none
    std::function<void()> sink;
  };

  void wait();
  void read_events();
  [[nodiscard]] int watch(const std::string& directory);
  void warn(int error);
  void look_at_lost();
  void look_at_lost_later();

  std::optional<asio::posix::stream_descriptor> inotify_;  ///< empty where there is none to be had
  asio::steady_timer lost_timer_;
  bool waiting_ = false;  ///< for lost_timer_
  bool warned_ = false;
  std::vector<Watch> watches_;
};

}  // namespace kms::supervisor
