#include "builder/publish/new_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/io/fd.h"

namespace kms::builder {
namespace {

/// A file that goes again unless it is finished.
class NewFile {
 public:
  NewFile(const std::filesystem::path& path, const std::string& on_full) : path_(path), on_full_(on_full) {
    fd_.reset(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR));
    if (!fd_) fail();
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile() {
    if (fd_) ::unlink(path_.c_str());
  }

  void append(std::string_view data) {
    if (!write_all(fd_.get(), data)) fail();
  }

  void finish(mode_t mode) {
    if (::fchmod(fd_.get(), mode) < 0 || ::fsync(fd_.get()) < 0) fail();
    fd_.reset();
  }

 private:
  [[noreturn]] void fail() {
    const bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
    throw_errno("write " + path_.string(), full ? "free some space, or " + on_full_ : "");
  }

  const std::filesystem::path& path_;
  const std::string& on_full_;
  UniqueFd fd_;
};

}  // namespace

void copy_to_new_file(int source, const std::filesystem::path& file, mode_t mode,
                      const std::string& on_full) {
  NewFile target(file, on_full);
  std::vector<char> buffer(std::size_t{1024} * 1024);
  for (off_t at = 0;;) {
    const ssize_t n = ::pread(source, buffer.data(), buffer.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("read what is copied to " + file.string());
    if (n == 0) break;
    target.append({buffer.data(), static_cast<std::size_t>(n)});
    at += n;
  }
  target.finish(mode);
}

}  // namespace kms::builder
