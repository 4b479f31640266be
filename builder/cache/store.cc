#include "builder/cache/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "builder/publish/new_file.h"
#include "builder/run/progress.h"
#include "common/build_info/build_info.h"
#include "common/error.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;
using mock_kms::v1::BuildInfo;
using namespace std::chrono_literals;

constexpr auto binary_name = "binary";
constexpr std::size_t max_sources = 1000;
constexpr auto leftover_age = 1min;  ///< an unlocked new.* of this age has no owner

/// A directory being filled, locked as long as its maker lives.
class NewDirectory {
 public:
  explicit NewDirectory(const fs::path& parent) : path_((parent / "new.XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) throw_errno("make " + path_);
    lock_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!lock_ || ::flock(lock_.get(), LOCK_EX | LOCK_NB) < 0) throw_errno("lock " + path_);
  }
  NewDirectory(const NewDirectory&) = delete;
  NewDirectory& operator=(const NewDirectory&) = delete;
  ~NewDirectory() {
    std::error_code ignored;  // the next eviction tries again
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }

  [[nodiscard]] fs::path path() const { return path_; }

  /// False if another builder has filled the place meanwhile, with the same content by its key.
  bool move_to(const fs::path& place) {
    if (::fsync(lock_.get()) < 0) throw_errno("sync " + path_);
    if (::chmod(path_.c_str(), 0755) < 0) throw_errno("open up " + path_);
    if (::rename(path_.c_str(), place.c_str()) < 0) {
      if (errno == ENOTEMPTY || errno == EEXIST) return false;
      throw_errno("make " + place.string());
    }
    path_.clear();
    return true;
  }

 private:
  std::string path_;
  UniqueFd lock_;
};

void write_text(const fs::path& file, const std::string& text) {
  std::ofstream stream(file);
  stream << text << std::flush;
  if (!stream) throw Error("cannot write " + file.string());
}

struct Aged {
  fs::path path;
  fs::file_time_type used;
  std::uint64_t bytes = 0;
};

/// The content of a directory, as far as it can be read.
std::vector<fs::directory_entry> entries_of(const fs::path& directory) {
  std::vector<fs::directory_entry> found;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error); !error && entry != fs::end(entry);
       entry.increment(error))
    found.push_back(*entry);
  return found;
}

/// The oldest first, without those that another builder removes meanwhile.
std::vector<Aged> by_age(const fs::path& directory) {
  std::vector<Aged> found;
  for (const fs::directory_entry& entry : entries_of(directory)) {
    std::error_code gone;
    Aged aged{entry.path(), fs::last_write_time(entry.path(), gone)};
    if (gone) continue;
    for (const fs::directory_entry& file : entries_of(aged.path)) {
      const std::uintmax_t bytes = file.file_size(gone);
      if (!gone) aged.bytes += bytes;
    }
    found.push_back(std::move(aged));
  }
  std::sort(found.begin(), found.end(), [](const Aged& a, const Aged& b) { return a.used < b.used; });
  return found;
}

/// Turns a failure of `work` into a warning: the build goes on without the cache.
template <class Work>
void or_warn(const fs::path& directory, Work work) {
  try {
    work();
  } catch (const fs::filesystem_error& error) {
    log::warning("cannot use the build cache: " + cannot_use(error).cause(),
                 {{"directory", directory.string()}});
  } catch (const std::exception& error) {
    log::warning("cannot use the build cache: " + std::string(error.what()),
                 {{"directory", directory.string()}});
  }
}

}  // namespace

std::optional<CacheHit> BuildCache::find(const std::string& key) const {
  if (max_bytes_ == 0) return std::nullopt;
  const fs::path place = directory_ / "entries" / key;
  const UniqueFd directory(::open(place.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  std::error_code none;
  if (!directory) {
    const fs::file_status status = fs::symlink_status(place, none);
    if (fs::exists(status) && !fs::is_directory(status)) set_aside(key, "a damaged entry");
    return std::nullopt;
  }
  // By descriptor, so that both files are of one entry even if another builder replaces it.
  CacheHit hit{
      UniqueFd(::openat(directory.get(), binary_name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW)), {}};
  struct stat status {};
  const bool is_file = hit.binary && ::fstat(hit.binary.get(), &status) == 0 && S_ISREG(status.st_mode);
  const auto info =
      read_build_info("/proc/self/fd/" + std::to_string(directory.get()) + "/" + build_info_name);
  if (!is_file || !info) {
    if (is_open_at(place, directory.get())) set_aside(key, "a damaged entry");
    return std::nullopt;
  }
  hit.info = *info;
  (void)::futimens(directory.get(), nullptr);  // on a read-only cache nothing is evicted either
  return hit;
}

bool BuildCache::holds(const std::string& key) const {
  std::error_code none;
  return max_bytes_ != 0 && fs::exists(directory_ / "entries" / key / binary_name, none);
}

void BuildCache::set_aside(const std::string& key, const std::string& what) const {
  const fs::path place = directory_ / "entries" / key;
  const fs::path aside = directory_ / ("damaged." + key.substr(0, 12) + "." + std::to_string(::getpid()));
  std::error_code error;
  fs::rename(place, aside, error);
  log::warning("the build cache held " + what,
               {{"set-aside", error ? "no: " + error.message() : aside.string()}});
}

void BuildCache::store(const std::string& key, const fs::path& binary, const BuildInfo& info) const {
  if (max_bytes_ == 0) return;
  or_warn(directory_, [&] {
    add_entry(key, binary, info);
    evict();
    remove_leftovers();
  });
}

void BuildCache::add_entry(const std::string& key, const fs::path& binary, const BuildInfo& info) const {
  const UniqueFd source(::open(binary.c_str(), O_RDONLY | O_CLOEXEC));
  if (!source) throw_errno("open " + binary.string());
  fs::create_directories(directory_ / "entries");
  NewDirectory entry(directory_);
  copy_to_new_file(source.get(), entry.path() / binary_name, "--cache-dir");
  BuildInfo record = info;
  record.clear_previous();
  write_text(entry.path() / build_info_name, build_info_json(record));
  if (!entry.move_to(directory_ / "entries" / key)) return;
  log::debug("kept in the build cache", {{"key", key}});
}

void BuildCache::evict() const {
  const std::vector<Aged> entries = by_age(directory_ / "entries");
  std::uint64_t total = 0;
  for (const Aged& entry : entries) total += entry.bytes;
  for (const Aged& entry : entries) {
    if (total <= max_bytes_) break;
    const NewDirectory grave(directory_);  // out of sight at once, then removed
    std::error_code another_did;
    fs::rename(entry.path, grave.path() / "evicted", another_did);
    total -= entry.bytes;
    if (!another_did) log::info("evicted from the build cache", {{"key", entry.path.filename().string()}});
  }
}

void BuildCache::remove_leftovers() const {
  const auto now = fs::file_time_type::clock::now();
  for (const fs::directory_entry& entry : fs::directory_iterator(directory_)) {
    const std::string name = entry.path().filename();
    std::error_code gone;
    if (!name.starts_with("new.") && !name.starts_with("damaged.")) continue;
    if (now - fs::last_write_time(entry.path(), gone) < leftover_age || gone) continue;
    const UniqueFd lock(::open(entry.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (lock && ::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) fs::remove_all(entry.path(), gone);
  }
}

std::optional<BuildInfo> BuildCache::source(const std::string& commit, const std::string& source_key) const {
  if (max_bytes_ == 0) return std::nullopt;
  const fs::path file = directory_ / "sources" / (commit + "-" + source_key);
  const auto record = read_build_info(file);
  if (!record || record->commit() != commit || record->paths().empty()) return std::nullopt;
  (void)::utimensat(AT_FDCWD, file.c_str(), nullptr, 0);
  return *record;
}

std::set<std::string> BuildCache::commits(const std::string& source_key) const {
  std::set<std::string> found;
  for (const fs::directory_entry& entry : entries_of(directory_ / "sources")) {
    const std::string name = entry.path().filename();
    if (name.ends_with("-" + source_key)) found.insert(name.substr(0, name.size() - source_key.size() - 1));
  }
  return found;
}

void BuildCache::remember_source(const std::string& source_key, const BuildInfo& info) const {
  if (max_bytes_ == 0) return;
  or_warn(directory_, [&] {
    BuildInfo record;
    record.set_commit(info.commit());
    record.set_build_system(info.build_system());
    *record.mutable_paths() = info.paths();
    fs::create_directories(directory_ / "sources");
    const NewDirectory directory(directory_);
    write_text(directory.path() / "source", build_info_json(record));
    fs::rename(directory.path() / "source", directory_ / "sources" / (info.commit() + "-" + source_key));
    forget_old_sources();
  });
}

void BuildCache::forget_old_sources() const {
  const std::vector<Aged> sources = by_age(directory_ / "sources");
  for (std::size_t i = 0; i + max_sources < sources.size(); ++i) {
    std::error_code another_did;
    fs::remove(sources[i].path, another_did);
  }
}

}  // namespace kms::builder
