// PathWatch calls back when something happens to a path: it was created, removed, replaced or written.
//
// One for the whole program, since a user has few inotify instances (128 by default). Everything runs on the
// loop's thread. It watches the path's directory by inotify(7) and does not say what happened, so the
// callback checks for itself. A directory that is missing, or that inotify cannot watch, is polled each
// second, and its callbacks run as often.
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

  /// `sink` lives as long as this.
  void add(const std::string& path, std::function<void()> sink);

 private:
  static constexpr int lost = -1;

  struct Watch {
    std::string directory;
    int number;  ///< inotify's number of the directory, or lost
    std::function<void()> sink;
  };

  void wait();
  void read_events();
  [[nodiscard]] int watch(const std::string& directory);
  void warn(int error);
  void retry_lost();
  void retry_lost_later();

  std::optional<asio::posix::stream_descriptor> inotify_;  ///< empty if there is none
  asio::steady_timer lost_timer_;
  bool waiting_ = false;  ///< for lost_timer_
  bool warned_ = false;
  std::vector<Watch> watches_;
};

}  // namespace kms::supervisor
