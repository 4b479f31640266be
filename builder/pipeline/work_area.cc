#include "builder/pipeline/work_area.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>
#include <system_error>

#include "common/log/log.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr auto lock_name = "mock-kms-build.lock";
constexpr auto work_name = "mock-kms-build";
constexpr auto build_dir_hint = "give another --build-dir";

std::string holder(int lock) {
  std::array<char, 32> text{};
  const ssize_t n = ::pread(lock, text.data(), text.size() - 1, 0);
  return n > 0 ? std::string(text.data()) : "unknown";
}

void write_holder(int lock) {
  const std::string pid = std::to_string(::getpid());
  if (::ftruncate(lock, 0) < 0 || ::pwrite(lock, pid.data(), pid.size(), 0) < 0) {
    log::debug("cannot write the lock's holder");  // it is only for people
  }
}

void take(int lock, const fs::path& path, const Interruption& interruption) {
  bool said = false;
  while (::flock(lock, LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) throw_errno("lock " + path.string(), build_dir_hint);
    if (!said) {
      log::info("waiting for another builder, or for processes of a killed one",
                {{"lock", path.string()}, {"pid", holder(lock)}});
    }
    said = true;
    interruption.wait_for(100ms);
  }
  write_holder(lock);
}

/// Gives the owner all rights on a directory and those below it.
void open_up(const fs::path& directory) {
  std::error_code error;
  fs::permissions(directory, fs::perms::owner_all, fs::perm_options::add, error);
  for (fs::directory_iterator entry(directory, error); !error && entry != fs::end(entry);
       entry.increment(error)) {
    std::error_code gone;
    if (entry->symlink_status(gone).type() == fs::file_type::directory) open_up(entry->path());
  }
}

/// Removes directories that compiled code has made unreadable, too.
void remove_directory(const fs::path& directory) {
  std::error_code error;
  fs::remove_all(directory, error);
  if (error && fs::is_directory(fs::symlink_status(directory))) {
    open_up(directory);
    error.clear();
    fs::remove_all(directory, error);
  }
  if (error) throw Error("cannot remove " + directory.string() + ": " + error.message(), build_dir_hint);
}

/// Removes the directory of a killed builder, and its target if it is a link of this user's.
void remove_leftovers(const fs::path& place) {
  struct stat status {};
  if (::lstat(place.c_str(), &status) < 0) return;
  log::info("removing the directory of a killed builder", {{"directory", place.string()}});
  if (S_ISLNK(status.st_mode) && status.st_uid == ::geteuid()) {
    const fs::path target = fs::read_symlink(place);
    if (target.filename().string().starts_with(std::string(work_name) + ".")) remove_directory(target);
  }
  remove_directory(place);
}

fs::path make_unique_directory(const fs::path& parent) {
  std::string path = (parent / (std::string(work_name) + ".XXXXXX")).string();
  if (::mkdtemp(path.data()) == nullptr || ::chmod(path.c_str(), 0755) < 0)
    throw_errno("make " + path, build_dir_hint);
  return path;
}

}  // namespace

WorkArea::WorkArea(const fs::path& build_dir, const Interruption& interruption, const fs::path& elsewhere)
    : place_(build_dir / work_name), root_(place_) {
  std::error_code error;
  fs::create_directories(build_dir, error);
  if (error) throw Error("cannot make " + build_dir.string() + ": " + error.message(), build_dir_hint);
  const fs::path lock = build_dir / lock_name;
  lock_.reset(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!lock_) throw_errno("open " + lock.string(), build_dir_hint);
  take(lock_.get(), lock, interruption);
  remove_leftovers(place_);
  if (!elsewhere.empty()) {
    root_ = make_unique_directory(elsewhere);
    if (::symlink(root_.c_str(), place_.c_str()) < 0) throw_errno("make " + place_.string(), build_dir_hint);
  } else if (::mkdir(root_.c_str(), 0755) < 0) {
    throw_errno("make " + root_.string(), build_dir_hint);
  }
  for (const fs::path& directory : {source(), build()}) {
    if (::mkdir(directory.c_str(), 0755) < 0) throw_errno("make " + directory.string(), build_dir_hint);
  }
}

WorkArea::~WorkArea() {
  try {
    remove_directory(root_);
    if (place_ != root_) fs::remove(place_);
  } catch (const std::exception& error) {
    log::warning(error.what());
  }
}

fs::path default_build_dir() {
  const auto variable = [](const char* name) -> fs::path {
    const char* value = std::getenv(name);
    return value != nullptr && *value == '/' ? value : "";
  };
  if (const fs::path cache = variable("XDG_CACHE_HOME"); !cache.empty()) return cache / "mock-kms-builder";
  if (const fs::path home = variable("HOME"); !home.empty() && home != "/")
    return home / ".cache" / "mock-kms-builder";
  return "";
}

}  // namespace kms::builder
