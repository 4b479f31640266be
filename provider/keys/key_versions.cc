#include "provider/keys/key_versions.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <limits>
#include <thread>

#include "common/log/log.h"
#include "common/text/protobuf.h"

namespace kms::provider {

using mock_kms::v1::KeyState;
using mock_kms::v1::KeyUse;

namespace {

constexpr std::size_t max_state = std::size_t{64} * 1024;
constexpr auto max_wait_for_lock = std::chrono::milliseconds(250);

/// Reads a state of `instance`.
Outcome<KeyState> parse_state(const std::string& content, const std::string& instance) {
  KeyState state;
  if (content.size() > max_state) return Error("it is larger than 64 KiB");
  if (const auto read = from_json(content, state); !read) return read.error();
  if (state.instance() != instance) return Error("it is about instance '" + state.instance() + "'");
  if (state.current() == 0) return Error("its current version is 0, and versions count from 1");
  if (state.highest() < state.current()) return Error("its highest version is lower than the current one");
  const auto& uses = state.uses();
  if (std::any_of(uses.begin(), uses.end(), [](const auto& use) { return use.version() == 0; })) {
    return Error("it has a version 0, and versions count from 1");
  }
  return state;
}

void write_to_disk(const UniqueFd& fd, std::string_view text, const std::filesystem::path& path) {
  if (!write_all(fd.get(), text)) throw_errno("write " + path.string());
  if (::fsync(fd.get()) != 0) throw_errno("write " + path.string() + " to disk");
}

}  // namespace

StateFile::StateFile(const std::filesystem::path& directory, std::string instance)
    : directory_(directory), path_(directory / (instance + ".json")), instance_(std::move(instance)) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    throw_errno("create the state directory " + directory.string(), "choose another --state-dir");
  }
  std::error_code unreadable;
  if (!std::filesystem::is_directory(directory, unreadable)) {
    throw Error("cannot use " + directory.string() + " as the state directory: it is not a directory",
                "choose another --state-dir");
  }
  if (::access(directory.c_str(), W_OK | X_OK) != 0) {
    throw_errno("write to the state directory " + directory.string(), "choose another --state-dir");
  }
}

std::optional<KeyState> StateFile::read() const {
  const UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) {
    set_aside("it cannot be opened: " + errno_text(errno));
    return std::nullopt;
  }
  struct stat found {};
  if (::fstat(fd.get(), &found) != 0 || !S_ISREG(found.st_mode)) {
    set_aside("it is not a regular file");
    return std::nullopt;
  }
  auto state = parse_state(read_at_most(fd.get(), max_state, path_), instance_);
  if (state) return *std::move(state);
  set_aside(state.error().cause());
  return std::nullopt;
}

UniqueFd StateFile::lock(Duration max_wait) const {
  using Clock = std::chrono::steady_clock;
  const std::filesystem::path path = directory_ / ("." + instance_ + ".lock");
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) throw_errno("open " + path.string());
  for (const auto end = Clock::now() + max_wait; ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0;) {
    if (errno != EWOULDBLOCK && errno != EINTR) throw_errno("lock " + path.string());
    if (Clock::now() > end) {
      log::warning("another process holds the state of this instance; continuing without the lock",
                   {{"lock", path.string()}});
      return {};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return fd;
}

void StateFile::set_aside(const std::string& cause) const {
  const std::filesystem::path aside = path_.string() + ".damaged-" + std::to_string(std::time(nullptr));
  std::error_code error;
  std::filesystem::rename(path_, aside, error);
  log::warning("the state file is damaged and was renamed; the version comes from --key-version",
               {{"file", path_.string()},
                {"cause", cause},
                {"kept_as", error ? "nothing: " + error.message() : aside.string()}});
}

void StateFile::write(const KeyState& state) const {
  const std::filesystem::path draft = directory_ / ("." + instance_ + ".json." + std::to_string(::getpid()));
  const UniqueFd fd(::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) throw_errno("create " + draft.string());
  try {
    write_to_disk(fd, to_json(state, JsonLayout::document), draft);
    if (::rename(draft.c_str(), path_.c_str()) != 0) throw_errno("put " + path_.string() + " in place");
  } catch (...) {
    ::unlink(draft.c_str());
    throw;
  }
  const UniqueFd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory) (void)::fsync(directory.get());  // without it a power cut may bring the old version back
}

KeyVersions::KeyVersions(KeyRing& keys, std::optional<StateFile> file, OnRotation on_rotation)
    : keys_(keys),
      file_(std::move(file)),
      declared_(keys.current()->id.version),
      on_rotation_(std::move(on_rotation)) {
  state_.set_instance(keys.instance());
  state_ = with(declared_);
}

KeyState KeyVersions::with(KeyVersion version) const {
  KeyState next = state_;
  next.set_current(version);
  next.set_highest(std::max(version, state_.highest()));
  next.clear_uses();
  KeyUse& use = *next.add_uses();
  use.set_version(version);
  use.set_key_id(keys_.at(version)->id_text);
  use.set_current(true);
  *use.mutable_since() = to_timestamp(std::chrono::system_clock::now());
  for (const KeyUse& earlier : state_.uses()) {
    if (next.uses_size() == max_uses) break;
    *next.add_uses() = earlier;
    next.mutable_uses(next.uses_size() - 1)->set_current(false);
  }
  return next;
}

void KeyVersions::load() {
  const std::lock_guard lock(mutex_);
  if (!file_) return;
  if (auto stored = file_->read()) {
    state_ = std::move(*stored);
    for (KeyUse& use : *state_.mutable_uses()) use.set_key_id(keys_.at(use.version())->id_text);
    const bool continues = state_.current() >= declared_;
    if (!continues || state_.uses().empty()) state_ = with(std::max(state_.current(), declared_));
    keys_.set_current(state_.current());
    if (continues) return;
  }
  file_->write(state_);
}

void KeyVersions::acquire() {
  if (file_) lock_ = file_->lock(max_wait_for_lock);
  load();
}

void KeyVersions::release() { lock_.reset(); }

Outcome<KeyVersions::Rotation> KeyVersions::rotate(std::optional<KeyVersion> to, bool force) {
  const std::lock_guard lock(mutex_);
  const KeyVersion from = state_.current();
  if (!to && state_.highest() == std::numeric_limits<KeyVersion>::max()) {
    return Error("there is no version above " + std::to_string(state_.highest()), "name one with --to");
  }
  const KeyVersion next = to.value_or(state_.highest() + 1);
  if (next == 0) return Error("versions count from 1");
  if (next == from) return Rotation{from, from};
  if (next <= state_.highest() && !force) {
    return Error("version " + std::to_string(next) + " is not above " + std::to_string(state_.highest()) +
                     ", the highest that was current",
                 "rotate without --to, or add --force to use a key id again");
  }
  make_current(next);
  return Rotation{from, next};
}

void KeyVersions::rotate_up_to(KeyVersion min) {
  const std::lock_guard lock(mutex_);
  if (min > state_.highest()) make_current(min);
}

void KeyVersions::make_current(KeyVersion version) {
  const KeyVersion from = state_.current();
  KeyState changed = with(version);
  if (file_) file_->write(changed);
  keys_.set_current(version);
  state_ = std::move(changed);
  if (on_rotation_) on_rotation_({from, version});
}

KeyState KeyVersions::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

}  // namespace kms::provider
