#include "builder/publish/output.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <system_error>

#include "builder/publish/new_file.h"
#include "common/crypto/sha256.h"
#include "common/error.h"
#include "common/io/fd.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using mock_kms::v1::BuildInfo;

constexpr auto option = "--output";
constexpr auto output_hint = "check --output";

fs::path temporary_name(const fs::path& file) {
  return file.parent_path() / ("." + file.filename().string() + ".builder-new");
}

/// Some file systems (NFS) lock no directories; a warning asks the user to avoid two builders for one output.
void lock(int directory, const fs::path& path, const Interruption& interruption) {
  bool said = false;
  while (::flock(directory, LOCK_EX | LOCK_NB) < 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) {
      if (!said) log::info("waiting for another builder's output", {{"directory", path.string()}});
      said = true;
      interruption.wait_for(100ms);
      continue;
    }
    log::warning("cannot lock " + path.string() + ": " + errno_text(errno) + "; run one builder at a time");
    return;
  }
}

/// True below /dev, /proc and /sys, where names such as /dev/stdout belong to the system. /dev/shm is for
/// files.
bool is_of_system(const fs::path& path) {
  const std::string text = path.string();
  return std::ranges::any_of(std::array{"/dev/", "/proc/", "/sys/"},
                             [&](const char* start) { return text.starts_with(start); }) &&
         !text.starts_with("/dev/shm/");
}

/// True if the file, or a link on the way from it to its target, is of the system.
bool leads_to_system(fs::path file) {
  constexpr int max_links = 40;  // as in the kernel
  for (int i = 0; i < max_links; ++i) {
    std::error_code none;
    file = fs::weakly_canonical(file.parent_path(), none) / file.filename();
    if (is_of_system(file)) return true;
    const fs::path target = fs::read_symlink(file, none);
    if (target.empty()) return false;
    file = file.parent_path() / target;
  }
  return false;
}

/// A FIFO would block its reader, and a device or a socket would be replaced by the binary. So would a link
/// such as /dev/stdout.
void require_regular_file(const fs::path& file) {
  std::error_code none;
  const fs::file_status status = fs::status(file, none);  // of a link's target
  if (leads_to_system(file))
    throw Error("cannot write " + file.string() + ": it is a name of the system, not a file",
                "give a file by --output");
  if (!fs::exists(status) || fs::is_regular_file(status)) return;
  const char* kind = fs::is_directory(status) ? "a directory"
                     : fs::is_fifo(status)    ? "a FIFO"
                     : fs::is_socket(status)  ? "a socket"
                                              : "a device";
  throw Error("cannot write " + file.string() + ": it is " + kind, "give a file by --output");
}

}  // namespace

Output::Output(fs::path binary, const Interruption& interruption) : binary_(std::move(binary)) {
  for (const fs::path& file : {binary_, info_path()}) require_regular_file(file);
  open_directory(interruption);
  remove_staged();
  // Fails before the compile, not after it.
  const fs::path probe = temporary_name(binary_);
  if (!UniqueFd(::open(probe.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)))
    throw_errno("write " + probe.string(), write_hint(errno, option));
  remove_staged();
}

/// Makes, opens and locks the directory. Tries again if another builder, which published nothing, has removed
/// it before it was locked.
void Output::open_directory(const Interruption& interruption) {
  const fs::path directory = binary_.parent_path();
  do {
    interruption.check();
    NewDirectories made(directory, output_hint);
    directory_.reset(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory_ && errno == ENOENT) continue;
    if (!directory_) throw_errno("open " + directory.string(), output_hint);
    try {
      lock(directory_.get(), directory, interruption);
    } catch (const Interrupted&) {
      made.keep();  // the holder of the lock uses them
      throw;
    }
    made_.take(made);
  } while (!directory_ || !is_open_at(directory, directory_.get()));
}

Output::~Output() {
  try {
    remove_staged();
  } catch (const std::exception& error) {
    log::warning(error.what());
  }
}

std::optional<BuildInfo> Output::current() const {
  const auto sha256 = sha256_of_file(binary_);
  const auto info = read_build_info(info_path());
  if (!sha256 || !info) return std::nullopt;
  return build_info_describing(*info, *sha256);
}

void Output::check_mode() const {
  struct stat status {};
  if (::stat(binary_.c_str(), &status) < 0) throw_errno("use " + binary_.string());
  if ((status.st_mode & 0555) != 0555)
    throw Error("cannot use " + binary_.string() + ": its mode does not let everybody run it");
}

bool Output::is_noexec() const {
  struct statvfs status {};
  return ::fstatvfs(directory_.get(), &status) == 0 && (status.f_flag & ST_NOEXEC) != 0;
}

void Output::publish(const BuildInfo& info) {
  BuildInfo file = info;
  const std::optional<BuildInfo> old = current();
  if (old && old->binary().sha256() != info.binary().sha256()) *file.mutable_previous() = *old;
  stage_info(file);
  move_into_place(info_path());
  move_into_place(binary_);
}

void Output::replace_info(const BuildInfo& info) {
  stage_info(info);
  move_into_place(info_path());
}

fs::path Output::stage(int built, BuildInfo& info) {
  const fs::path staged = temporary_name(binary_);
  remove_staged();
  copy_to_new_file(built, staged, option);
  info.mutable_binary()->set_path(binary_.string());
  info.mutable_binary()->set_size(static_cast<std::uint32_t>(fs::file_size(staged)));
  info.mutable_binary()->set_sha256(sha256_of_file(staged).value_or(""));
  return staged;
}

void Output::remove_staged() const {
  for (const fs::path& file : {binary_, info_path()}) {
    const fs::path staged = temporary_name(file);
    if (::unlink(staged.c_str()) == 0 || errno == ENOENT) continue;
    throw_errno(errno == EROFS ? "write " + file.string() : "remove " + staged.string(), output_hint);
  }
}

void Output::stage_info(const BuildInfo& info) const {
  const fs::path staged = temporary_name(info_path());
  fs::remove(staged);
  write_new_file(staged, build_info_json(info), 0644, option);
}

void Output::move_into_place(const fs::path& file) const {
  if (::rename(temporary_name(file).c_str(), file.c_str()) < 0)
    throw_errno("publish " + file.string(), write_hint(errno, option));
  // The directory is synced after each rename, so that a power loss keeps their order.
  if (::fsync(directory_.get()) < 0)
    throw_errno("sync " + file.parent_path().string(), write_hint(errno, option));
}

}  // namespace kms::builder
