// builder fetch: fetches directories of a git repository into a directory, and does nothing else.
#include "builder/source/fetch.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <system_error>

#include "builder/checkout/write.h"
#include "builder/commands/commands.h"
#include "builder/commands/report.h"
#include "builder/commands/source_options.h"
#include "builder/publish/new_directories.h"
#include "common/build_info/build_info.h"
#include "common/io/fd.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;

/// The values of the options.
struct FetchOptions {
  SourceOptions source;
  ReportOptions report;
  std::string into;
  OutputFormat format = OutputFormat::text;
};

constexpr auto into_hint = "check --into";
constexpr auto mount_hint = "give a directory below it by --into";

/// Nothing can be renamed to a mount point. False for one of the same file system.
bool is_mount_point(const fs::path& directory) {
  struct stat status {};
  struct stat above {};
  return ::stat(directory.c_str(), &status) == 0 && ::stat(directory.parent_path().c_str(), &above) == 0 &&
         status.st_dev != above.st_dev;
}

/// A directory beside `into` that is filled and then renamed to it. It is locked while this lives.
class StagedDirectory {
 public:
  explicit StagedDirectory(const fs::path& into)
      : into_(into), stage_(into.parent_path() / ("." + into.filename().string() + ".builder-new")) {
    std::error_code error;
    if (fs::exists(into) && !fs::is_empty(into, error)) {
      throw Error("cannot write to " + into.string() + ": it exists and is not an empty directory",
                  "give another --into");
    }
    if (is_mount_point(into))
      throw Error("cannot make " + into.string() + ": it is a mount point", mount_hint);
    do open_stage();
    while (!lock_ || !is_open_at(stage_, lock_.get()));
    try {
      for (const fs::directory_entry& left : fs::directory_iterator(stage_)) fs::remove_all(left.path());
      fs::create_directory(content());
    } catch (const fs::filesystem_error&) {
      remove();
      throw;
    }
  }
  StagedDirectory(const StagedDirectory&) = delete;
  StagedDirectory& operator=(const StagedDirectory&) = delete;
  ~StagedDirectory() { remove(); }

  [[nodiscard]] fs::path content() const { return stage_ / "content"; }
  [[nodiscard]] const fs::path& scratch() const { return stage_; }

  void publish() const {
    if (::rename(content().c_str(), into_.c_str()) < 0)
      throw_errno("make " + into_.string(), errno == EBUSY ? mount_hint : into_hint);
  }

 private:
  /// Makes, opens and locks the stage. A builder that is just ending may remove it, or a directory above,
  /// before it is locked: then it is to be opened again.
  void open_stage() {
    NewDirectories made(into_.parent_path(), into_hint);
    above_.take(made);
    const bool is_new = ::mkdir(stage_.c_str(), 0755) == 0;
    if (!is_new && errno != EEXIST && errno != ENOENT) throw_errno("make " + stage_.string(), into_hint);
    lock_.reset(::open(stage_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (!lock_ && errno == ENOENT) return;
    if (!lock_) throw_errno("open " + stage_.string(), into_hint);
    if (!is_new) require_own();
    if (::flock(lock_.get(), LOCK_EX | LOCK_NB) < 0) {
      throw Error("cannot write to " + into_.string() + ": another builder writes to it",
                  "wait for it to end");
    }
  }

  void remove() const {
    std::error_code error;
    fs::remove_all(stage_, error);
    if (error) log::warning("cannot remove " + stage_.string() + ": " + error.message());
  }

  /// The owner of a directory can change its content.
  void require_own() const {
    struct stat status {};
    if (::fstat(lock_.get(), &status) < 0) throw_errno("read the owner of " + stage_.string(), into_hint);
    if (status.st_uid == ::geteuid()) return;
    throw Error("cannot write to " + into_.string() + ": " + stage_.string() + " belongs to another user",
                "remove it, or give another --into");
  }

  NewDirectories above_;  ///< destroyed last
  fs::path into_;
  fs::path stage_;
  UniqueFd lock_;
};

struct Export {
  mock_kms::v1::BuildInfo info;  ///< source and transfer; there is no binary
  CheckoutResult checkout;
};

/// The directory appears complete or not at all. `request` has no scratch directory yet.
Export fetch_into(const fs::path& into, FetchRequest request, const Interruption& interruption,
                  Progress& progress) {
  const StagedDirectory directory(into);
  request.scratch = directory.scratch();
  if (request.paths.empty()) request.paths = {"."};
  const Fetched fetched = fetch(request, interruption, progress);
  Export result;
  record_request(request, git::hex(fetched.commit), result.info);
  record_transfer(fetched, result.info);
  result.checkout = check_out(fetched.objects.get(), fetched.commit, request.paths, directory.content(),
                              request.limits, "--into");
  record_paths(result.checkout.paths, result.info);
  interruption.check();
  directory.publish();
  return result;
}

void print(const Export& result, const fs::path& into, OutputFormat format) {
  const auto& info = result.info;
  if (format == OutputFormat::json) {
    std::fputs(build_info_json(info).c_str(), stdout);
  } else {
    std::printf("Fetched: %s\n  %zu files (%s)\n  commit %s of %s (%s)\n  received %s in %u requests (%s)\n",
                into.c_str(), result.checkout.files, human_bytes(result.checkout.bytes).c_str(),
                info.commit().c_str(), info.repository().c_str(), info.ref().c_str(),
                human_bytes(info.transfer().bytes()).c_str(), info.transfer().requests(),
                info.transfer().strategy().c_str());
  }
  finish_output("the directory of --into is complete; check where stdout goes");
}

/// It is made by renaming, which would leave the caller in a directory that is gone.
fs::path read_into(const std::string& option) {
  std::error_code none;
  fs::path into = absolute_path("--into", option);
  if (!into.has_filename()) into = into.parent_path();
  if (fs::equivalent(into, ".", none))
    throw Error("--into: " + into.string() + " is the current directory", "give a new directory");
  return into;
}

int run(const FetchOptions& options) {
  const FetchRequest request = or_usage_error([&] { return read_source_options(options.source); });
  const fs::path into = or_usage_error([&] { return read_into(options.into); });
  return run_reported(options.report, [&](const Interruption& interruption, Progress& progress) {
    print(fetch_into(into, request, interruption, progress), into, options.format);
  });
}

}  // namespace

Command fetch_command(CommandLine& line) {
  const auto options = std::make_shared<FetchOptions>();
  CLI::App& command =
      line.add_subcommand("fetch", "Fetch directories of a git repository, and nothing else",
                          {"builder fetch --repo https://git.example.org/huge.git --path docs --into docs"});
  add_source_options(command, options->source, "Directory or file to fetch, repeatable (default: all)");
  command.add_option("--into", options->into, "Directory to make; it may exist if it is empty")->required();
  add_report_options(command, options->report);
  add_format(command, options->format);
  return {&command, [options] { return run(*options); }, true};
}

}  // namespace kms::builder
