#include "builder/commands/export.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <system_error>

#include "builder/commands/transfer.h"
#include "common/io/fd.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;

constexpr auto hint = "check --into";

/// The directory beside `into` that becomes it, locked while this lives.
class StagedDirectory {
 public:
  explicit StagedDirectory(const fs::path& into)
      : into_(into), stage_(into.parent_path() / ("." + into.filename().string() + ".builder-new")) {
    std::error_code error;
    if (fs::exists(into) && !fs::is_empty(into, error)) {
      throw Error("cannot write to " + into.string() + ": it is there, and not an empty directory",
                  "give another --into");
    }
    fs::create_directories(into.parent_path(), error);
    if (error) throw Error("cannot make " + into.parent_path().string() + ": " + error.message(), hint);
    const bool made = ::mkdir(stage_.c_str(), 0755) == 0;
    if (!made && errno != EEXIST) throw_errno("make " + stage_.string(), hint);
    lock_.reset(::open(stage_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (!lock_) throw_errno("open " + stage_.string(), hint);
    if (!made) require_own();
    if (::flock(lock_.get(), LOCK_EX | LOCK_NB) < 0) {
      throw Error("cannot write to " + into.string() + ": another builder is at it", "wait for it to end");
    }
    for (const fs::directory_entry& left : fs::directory_iterator(stage_)) fs::remove_all(left.path());
    fs::create_directory(content());
    fs::create_directory(scratch());
  }
  StagedDirectory(const StagedDirectory&) = delete;
  StagedDirectory& operator=(const StagedDirectory&) = delete;
  ~StagedDirectory() {
    std::error_code error;
    fs::remove_all(stage_, error);
    if (error) log::warning("cannot remove " + stage_.string() + ": " + error.message());
  }

  [[nodiscard]] fs::path content() const { return stage_ / "content"; }
  [[nodiscard]] fs::path scratch() const { return stage_ / "scratch"; }

  void publish() const {
    if (::rename(content().c_str(), into_.c_str()) < 0) throw_errno("make " + into_.string(), hint);
  }

 private:
  /// Who owns a directory can change what is in it.
  void require_own() const {
    struct stat status {};
    if (::fstat(lock_.get(), &status) < 0) throw_errno("look at " + stage_.string(), hint);
    if (status.st_uid == ::geteuid()) return;
    throw Error("cannot write to " + into_.string() + ": " + stage_.string() + " belongs to somebody else",
                "remove it, or give another --into");
  }

  fs::path into_;
  fs::path stage_;
  UniqueFd lock_;
};

}  // namespace

Exported export_paths(FetchRequest request, const fs::path& into, const Interruption& interruption,
                      Progress& progress) {
  const StagedDirectory directory(into);
  request.scratch = directory.scratch();
  if (request.paths.empty()) request.paths = {"."};
  Exported exported;
  const Fetched fetched = transfer_source(request, interruption, progress, exported.info);
  exported.checkout =
      check_out(fetched.objects.get(), fetched.commit, request.paths, directory.content(), request.limits);
  record_paths(exported.checkout.paths, exported.info);
  log_checkout(exported.checkout);
  interruption.check();
  directory.publish();
  return exported;
}

}  // namespace kms::builder
