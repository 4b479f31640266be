#include "supervisor/instance/path_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include "common/error.h"
#include "common/log/log.h"

namespace kms::supervisor {
namespace {

constexpr std::uint32_t changes = IN_CREATE | IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
                                  IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

}  // namespace

PathWatch::PathWatch(asio::io_context& loop) : lost_timer_(loop) {
  const int inotify = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (inotify < 0) {
    warn(errno);
    return;
  }
  inotify_.emplace(loop, inotify);
  wait();
}

/// Warns once, and not about a missing directory.
void PathWatch::warn(int error) {
  if (error == ENOENT || error == ENOTDIR || std::exchange(warned_, true)) return;
  log::warning("cannot watch directories by inotify; they are polled each second",
               {{"cause", errno_text(error)}});
}

/// inotify's number of the directory; lost if it cannot be watched.
int PathWatch::watch(const std::string& directory) {
  if (!inotify_) return lost;
  const int number = ::inotify_add_watch(inotify_->native_handle(), directory.c_str(), changes);
  if (number < 0) warn(errno);
  return number;
}

void PathWatch::add(const std::string& path, std::function<void()> sink) {
  const std::string directory = std::filesystem::absolute(path).parent_path().string();
  watches_.push_back({directory, watch(directory), std::move(sink)});
  if (watches_.back().number == lost) retry_lost_later();
}

void PathWatch::wait() {
  inotify_->async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
    if (error) return;
    read_events();
    wait();
  });
}

/// Calls each sink once, even if its directory had many events.
void PathWatch::read_events() {
  std::set<int> changed;
  std::set<int> gone;
  bool overflown = false;
  alignas(inotify_event) std::array<char, 16384> buffer{};
  for (ssize_t size = 0; (size = ::read(inotify_->native_handle(), buffer.data(), buffer.size())) > 0;) {
    for (ssize_t at = 0; at < size;) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      changed.insert(event.wd);
      overflown |= (event.mask & IN_Q_OVERFLOW) != 0;
      if ((event.mask & (IN_IGNORED | IN_MOVE_SELF)) != 0) gone.insert(event.wd);
      at += static_cast<ssize_t>(sizeof event + event.len);
    }
  }
  std::vector<std::function<void()>> sinks;
  for (Watch& watch : watches_) {
    if (overflown || changed.contains(watch.number)) sinks.push_back(watch.sink);
    if (gone.contains(watch.number)) watch.number = lost;
  }
  for (const int number : gone) ::inotify_rm_watch(inotify_->native_handle(), number);
  for (const auto& sink : sinks) sink();
  if (!gone.empty()) retry_lost();
}

void PathWatch::retry_lost() {
  bool missing = false;
  for (std::size_t i = 0; i < watches_.size(); ++i) {  // NOLINT(modernize-loop-convert): a sink may add one
    if (watches_[i].number != lost) continue;
    watches_[i].number = watch(watches_[i].directory);
    missing |= watches_[i].number == lost;
    std::function(watches_[i].sink)();
  }
  if (missing) retry_lost_later();
}

void PathWatch::retry_lost_later() {
  if (std::exchange(waiting_, true)) return;
  lost_timer_.expires_after(std::chrono::seconds(1));
  lost_timer_.async_wait([this](const asio::error_code& stopped) {
    if (stopped) return;
    waiting_ = false;
    retry_lost();
  });
}

}  // namespace kms::supervisor
