#include "provider/config/file_watch.h"

#include <sys/inotify.h>

#include <array>
#include <cstring>
#include <filesystem>

#include "common/error.h"

namespace kms::provider {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t events = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE;
constexpr int max_links = 40;  // as many as the kernel follows, path_resolution(7)

}  // namespace

FileWatch::FileWatch(std::string path)
    : path_(fs::absolute(path)), fd_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  if (!fd_) throw_errno("watch " + path_);
  watch_directories();
}

void FileWatch::watch_directories() {
  names_.clear();
  fs::path way = path_;
  for (int links = 0; links < max_links; ++links) {
    // Each part of the way may be a link, which is replaced in the directory that it stands in.
    fs::path reached;
    fs::path target;
    for (auto part = way.begin(); part != way.end() && target.empty(); ++part) {
      const fs::path at = reached / *part;
      std::error_code not_a_link;
      const fs::path leads_to = fs::read_symlink(at, not_a_link);
      const bool is_last = std::next(part) == way.end();
      if (!not_a_link || is_last) {
        // A directory that is not there has no events; what leads to it has.
        const int watched = ::inotify_add_watch(fd_.get(), reached.c_str(), events | IN_ONLYDIR);
        if (watched < 0 && links == 0 && errno != ENOENT && errno != ENOTDIR) {
          throw_errno("watch directory " + reached.string());
        }
        names_.insert(part->string());
      }
      if (!not_a_link) {
        target = leads_to.is_absolute() ? leads_to : reached / leads_to;
        for (auto rest = std::next(part); rest != way.end(); ++rest) target /= *rest;
      }
      reached = at;
    }
    if (target.empty()) return;
    way = target;
  }
}

bool FileWatch::changed() {
  alignas(inotify_event) std::array<char, 4096> buffer{};
  bool applies_here = false;
  while (true) {
    const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got < 0) throw_errno("watch " + path_);
    for (const char* at = buffer.data(); at < buffer.data() + got;) {
      inotify_event event{};
      std::memcpy(&event, at, sizeof event);
      const std::string name = event.len == 0 ? "" : at + sizeof event;
      applies_here = applies_here || (event.mask & IN_Q_OVERFLOW) != 0 || names_.contains(name);
      at += sizeof event + event.len;
    }
  }
  if (applies_here) watch_directories();
  return applies_here;
}

}  // namespace kms::provider
