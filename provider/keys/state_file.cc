#include "provider/keys/state_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <thread>

#include "common/error.h"
#include "common/io/fd.h"
#include "common/log/log.h"
#include "common/text/protobuf.h"

namespace kms::provider {
namespace {

using mock_kms::v1::KeyState;

constexpr std::size_t largest = std::size_t{64} * 1024;

/// Why this is not a state of `instance`, or nothing.
std::optional<std::string> refuse(const std::string& content, const std::string& instance, KeyState& state) {
  if (content.size() > largest) return "it is larger than 64 KiB";
  if (const auto read = from_json(content, state); !read) return read.error().cause();
  if (state.instance() != instance) return "it is about instance '" + state.instance() + "'";
  if (state.current() == 0) return "its current version is 0, and versions count from 1";
  if (state.highest() < state.current()) return "its highest version is lower than the current one";
  const auto& uses = state.uses();
  if (std::any_of(uses.begin(), uses.end(), [](const auto& use) { return use.version() == 0; }))
    return "it has a version 0, and versions count from 1";
  return std::nullopt;
}

void write_to_disk(const UniqueFd& fd, std::string_view text, const std::filesystem::path& path) {
  if (!write_all(fd.get(), text)) throw_errno("write " + path.string());
  if (::fsync(fd.get()) != 0) throw_errno("write " + path.string() + " to disk");
}

}  // namespace

StateFile::StateFile(const std::filesystem::path& directory, std::string instance)
    : directory_(directory), path_(directory / (instance + ".json")), instance_(std::move(instance)) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    throw_errno("make the state directory " + directory.string(), "choose another --state-dir");
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
    set_aside("it is no regular file");
    return std::nullopt;
  }
  KeyState state;
  if (const auto why = refuse(read_at_most(fd.get(), largest, path_), instance_, state)) {
    set_aside(*why);
    return std::nullopt;
  }
  return state;
}

UniqueFd StateFile::lock(Duration patience) const {
  using Clock = std::chrono::steady_clock;
  const std::filesystem::path path = directory_ / ("." + instance_ + ".lock");
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) throw_errno("open " + path.string());
  for (const auto end = Clock::now() + patience; ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0;) {
    if (errno != EWOULDBLOCK && errno != EINTR) throw_errno("lock " + path.string());
    if (Clock::now() > end) {
      log::warning("another process has the state of this instance; going on beside it",
                   {{"lock", path.string()}});
      return {};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return fd;
}

void StateFile::set_aside(const std::string& why) const {
  const std::filesystem::path aside = path_.string() + ".damaged-" + std::to_string(std::time(nullptr));
  std::error_code stays;
  std::filesystem::rename(path_, aside, stays);
  log::warning("the state file is damaged and was set aside; the version comes from --key-version",
               {{"file", path_.string()},
                {"cause", why},
                {"kept_as", stays ? "nothing: " + stays.message() : aside.string()}});
}

void StateFile::write(const KeyState& state) const {
  const std::filesystem::path draft = directory_ / ("." + instance_ + ".json." + std::to_string(::getpid()));
  const UniqueFd fd(::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) throw_errno("make " + draft.string());
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

}  // namespace kms::provider
