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

/// Removes the file again unless it is finished.
class NewFile {
 public:
  NewFile(const std::filesystem::path& path, const std::string& option) : path_(path), option_(option) {
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
  [[noreturn]] void fail() { throw_errno("write " + path_.string(), write_hint(errno, option_)); }

  const std::filesystem::path& path_;
  const std::string& option_;
  UniqueFd fd_;
};

}  // namespace

void copy_to_new_file(int source, const std::filesystem::path& file, const std::string& option) {
  NewFile target(file, option);
  std::vector<char> buffer(std::size_t{1024} * 1024);
  for (off_t at = 0;;) {
    const ssize_t n = ::pread(source, buffer.data(), buffer.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("copy to " + file.string());
    if (n == 0) break;
    target.append({buffer.data(), static_cast<std::size_t>(n)});
    at += n;
  }
  target.finish(0755);
}

void write_new_file(const std::filesystem::path& file, std::string_view text, mode_t mode,
                    const std::string& option) {
  NewFile target(file, option);
  target.append(text);
  target.finish(mode);
}

std::string write_hint(int error, const std::string& option) {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  return full ? "free some space, or give " + option + " on a larger disk" : "check " + option;
}

}  // namespace kms::builder
