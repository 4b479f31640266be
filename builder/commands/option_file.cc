#include "builder/commands/option_file.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>

#include "common/error.h"
#include "common/io/fd.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::uintmax_t max_regular_file = std::uintmax_t{16} * 1024 * 1024;
constexpr auto max_wait_for_writer = std::chrono::seconds(5);
constexpr auto max_wait_for_content = std::chrono::minutes(5);  ///< a person may type a passphrase meanwhile
constexpr int poll_interval_ms = 20;

std::string check(const std::string& option) { return "check " + option; }

void require_file(const std::string& option, const std::string& file) {
  if (::access(file.c_str(), R_OK) < 0) throw_errno("read " + file, check(option));
  if (fs::is_directory(file)) throw Error("cannot read " + file + ": it is a directory", check(option));
}

}  // namespace

void require_regular_file(const std::string& option, const std::string& file) {
  if (file.empty()) return;
  require_file(option, file);
  if (!fs::is_regular_file(file))
    throw Error("cannot read " + file + ": it is not a regular file",
                "give " + option + " a file that stays");
  if (fs::file_size(file) > max_regular_file)
    throw Error("cannot use " + file + ": it is longer than 16 MiB", check(option));
}

/// read(2) of a FIFO returns 0 while nobody has opened it for writing, and EAGAIN while a writer is silent.
std::string read_option_file(const std::string& option, const std::string& file, std::size_t max,
                             Amount amount) {
  require_file(option, file);
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd) throw_errno("read " + file, check(option));
  const auto begin = Clock::now();
  std::string text(max + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(fd.get(), text.data() + size, text.size() - size);
    const int error = got < 0 ? errno : 0;
    if (error != 0 && error != EAGAIN && error != EINTR) throw_errno("read " + file, check(option));
    size += static_cast<std::size_t>(std::max<ssize_t>(got, 0));
    const bool awaits_writer = got == 0 && size == 0 && fs::is_fifo(file);
    if (got == 0 && !awaits_writer) break;
    if (amount == Amount::first_line && text.find('\n') < size) break;
    if (got > 0) continue;
    if (Clock::now() - begin > (awaits_writer ? max_wait_for_writer : max_wait_for_content))
      throw Error("cannot read " + file + ": nobody writes to it", check(option));
    pollfd content{awaits_writer ? -1 : fd.get(), POLLIN, 0};
    ::poll(&content, 1, poll_interval_ms);
  }
  text.resize(size);
  return text;
}

}  // namespace kms::builder
