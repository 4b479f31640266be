#include "provider/config/follower.h"

#include <google/protobuf/util/message_differencer.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include <array>
#include <cstring>
#include <filesystem>

#include "common/log/log.h"
#include "common/text/protobuf.h"

namespace kms::provider {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t events = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE;
constexpr int max_links = 40;           // the kernel's limit, path_resolution(7)
constexpr int poll_interval_ms = 1000;  // without inotify

}  // namespace

using google::protobuf::util::MessageDifferencer;
using mock_kms::v1::FaultUse;
using mock_kms::v1::ProviderConfig;

FileWatch::FileWatch(std::string path)
    : path_(fs::absolute(path)), fd_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  if (fd_) {
    watch_directories();
  } else {
    give_up("make an inotify instance");
  }
}

/// Call it directly after the call that set errno.
void FileWatch::give_up(const std::string& verb_and_object) {
  problem_ = "cannot " + verb_and_object + ": " + errno_text(errno);
  fd_.reset();
}

void FileWatch::watch_directories() {
  names_.clear();
  fs::path resolved = path_;
  for (int links = 0; links < max_links; ++links) {
    // Each part may be a link, which is replaced in its own directory.
    fs::path reached;
    fs::path target;
    for (auto part = resolved.begin(); part != resolved.end() && target.empty(); ++part) {
      const fs::path at = reached / *part;
      std::error_code not_a_link;
      const fs::path link_target = fs::read_symlink(at, not_a_link);
      const bool is_last = std::next(part) == resolved.end();
      if (!not_a_link || is_last) {
        // A missing directory has no events; the directories above it have.
        const int watched = ::inotify_add_watch(fd_.get(), reached.c_str(), events | IN_ONLYDIR);
        if (watched < 0 && errno != ENOENT && errno != ENOTDIR) {
          return give_up("watch directory " + reached.string());
        }
        names_.insert(part->string());
      }
      if (!not_a_link) {
        target = link_target.is_absolute() ? link_target : reached / link_target;
        for (auto rest = std::next(part); rest != resolved.end(); ++rest) target /= *rest;
      }
      reached = at;
    }
    if (target.empty()) return;
    resolved = target;
  }
}

bool FileWatch::changed() {
  alignas(inotify_event) std::array<char, 4096> buffer{};
  bool changed = false;
  while (true) {
    const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got < 0) {
      give_up("read inotify's events");
      return true;
    }
    for (const char* at = buffer.data(); at < buffer.data() + got;) {
      inotify_event event{};
      std::memcpy(&event, at, sizeof event);
      const std::string name = event.len == 0 ? "" : at + sizeof event;
      changed = changed || (event.mask & IN_Q_OVERFLOW) != 0 || names_.contains(name);
      at += sizeof event + event.len;
    }
  }
  if (changed) watch_directories();
  return changed;
}

ConfigFollower::ConfigFollower(const std::string& path, ProviderState& state, ScenarioRunner& scenarios)
    : state_(state),
      scenarios_(scenarios),
      watch_(path),
      stop_event_(::eventfd(0, EFD_CLOEXEC)),
      again_event_(::eventfd(0, EFD_CLOEXEC)) {
  if (!stop_event_ || !again_event_) throw_errno("make an event descriptor");
  status_.set_file(path);
  read_file();
  thread_ = std::thread([this] { follow(); });
}

ConfigFollower::~ConfigFollower() {
  ::eventfd_write(stop_event_.get(), 1);
  thread_.join();
}

mock_kms::v1::ConfigStatus ConfigFollower::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

void ConfigFollower::read_again() { ::eventfd_write(again_event_.get(), 1); }

void ConfigFollower::follow() try {
  while (!stopped_) wait();
} catch (const std::exception& error) {
  refuse(std::string("it is no longer followed: ") + error.what());
}

/// Waits for one event and handles it.
void ConfigFollower::wait() {
  const bool polling = !watch_.problem().empty();
  if (polling && !std::exchange(warned_, true)) {
    log::warning("changes of the configuration are not noticed at once; it is read every second",
                 {{"file", status_.file()}, {"cause", watch_.problem()}});
  }
  std::array watched{pollfd{stop_event_.get(), POLLIN, 0}, pollfd{again_event_.get(), POLLIN, 0},
                     pollfd{watch_.fd(), POLLIN, 0}};
  const int ready = ::poll(watched.data(), watched.size(), polling ? poll_interval_ms : -1);
  if (ready < 0 && errno != EINTR) throw_errno("wait for changes");
  if (ready < 0) return;
  stopped_ = watched[0].revents != 0;
  const bool again = watched[1].revents != 0;
  if (again) {
    eventfd_t times = 0;
    ::eventfd_read(again_event_.get(), &times);
    last_result_.clear();
  }
  const bool changed = watched[2].revents != 0 && watch_.changed();
  if (!stopped_ && (changed || again || polling)) read_file();
}

void ConfigFollower::read_file() {
  std::string digest;
  std::string error;
  const auto config = read_config(status_.file(), digest);
  if (!config) {
    error = config.error().line();
  } else if (digest != status_.sha256()) {
    try {
      apply(*config);
    } catch (const Error& failed) {
      error = failed.what();
    }
  }
  // One change of a mounted ConfigMap causes several events.
  if (const std::string result = digest + error; result == std::exchange(last_result_, result)) return;
  if (error.empty()) {
    accept(*config, digest);
  } else {
    refuse(error);
  }
}

/// The version comes first: it is the only part that can fail.
void ConfigFollower::apply(const ProviderConfig& config) {
  state_.versions.rotate_up_to(config.key_version());
  state_.faults.declare({config.faults().begin(), config.faults().end()}, FaultUse::FILE);
  if (MessageDifferencer::Equals(config.scenario(), scenario_)) return;
  scenario_ = config.scenario();
  if (config.has_scenario()) {
    scenarios_.run(scenario_, true);
  } else {
    scenarios_.stop_from_file();
  }
}

void ConfigFollower::accept(const ProviderConfig& config, const std::string& digest) {
  const KeyVersion current = state_.versions.state().current();
  std::string remark;
  if (config.key_version() != 0 && config.key_version() != current) {
    remark = "keyVersion " + std::to_string(config.key_version()) +
             " has no effect: the file never lowers the version, and " + std::to_string(current) +
             " is current";
  }
  {
    const std::lock_guard lock(mutex_);
    status_.set_sha256(digest);
    status_.clear_error();
    status_.clear_error_since();
    status_.set_remark(remark);
    *status_.mutable_since() = to_timestamp(std::chrono::system_clock::now());
  }
  log::info("applied the configuration", {{"file", status_.file()},
                                          {"sha256", digest},
                                          {"key_version", current},
                                          {"faults", config.faults_size()},
                                          {"scenario", config.has_scenario()}});
  if (!remark.empty()) log::warning(remark, {{"file", status_.file()}});
  state_.journal.note("configuration " + status_.file() + " is in effect" +
                      (remark.empty() ? "" : "; " + remark));
}

void ConfigFollower::refuse(const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    status_.set_error(why);
    *status_.mutable_error_since() = to_timestamp(std::chrono::system_clock::now());
  }
  log::warning("the configuration is bad; the previous one stays in effect",
               {{"file", status_.file()}, {"cause", why}});
  state_.journal.note("configuration " + status_.file() +
                      " is bad, the previous one stays in effect: " + why);
}

}  // namespace kms::provider
