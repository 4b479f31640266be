#include "supervisor/output/line_writer.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "tests/support/temp_directory.h"

using kms::UniqueFd;
using kms::supervisor::LineWriter;

namespace {

std::pair<UniqueFd, UniqueFd> pipe_ends() {
  std::array<int, 2> fds{};
  REQUIRE(::pipe2(fds.data(), O_CLOEXEC) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

std::string read_all(const UniqueFd& fd) {
  std::string text;
  std::array<char, 65536> buffer{};
  for (ssize_t n = 0; (n = ::read(fd.get(), buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return text;
}

/// Limits the size of the files that this process writes while it lives. A write beyond is EFBIG.
class MaxFileSize {
 public:
  explicit MaxFileSize(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  MaxFileSize(const MaxFileSize&) = delete;
  MaxFileSize& operator=(const MaxFileSize&) = delete;
  ~MaxFileSize() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int) = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before_{};
};

/// An empty file, open for a LineWriter.
struct LogFile {
  /// Waits for the file to end with `end`. True if it does within 10 s.
  [[nodiscard]] bool ends_in_time(const std::string& end) const {
    for (int i = 0; i < 1000; ++i) {
      if (kms::test::TempDirectory::read(path).ends_with(end)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  kms::test::TempDirectory directory;
  std::filesystem::path path = directory.write("log", "");
  UniqueFd fd{::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC)};
};

}  // namespace

TEST_CASE("lines come out in their order, and what waits at the end is written") {
  auto [reader, writer_end] = pipe_ends();
  {
    LineWriter writer(writer_end.get());
    for (int i = 0; i < 100; ++i) writer.write("line " + std::to_string(i));
  }
  writer_end.reset();
  const std::string text = read_all(reader);
  CHECK(text.starts_with("line 0\nline 1\n"));
  CHECK(text.ends_with("line 99\n"));
}

TEST_CASE("a reader that stalls blocks nobody: lines beyond the bound are dropped and counted") {
  auto [reader, writer_end] = pipe_ends();
  std::string text;
  {
    LineWriter writer(writer_end.get());
    for (int i = 0; i < 3000; ++i) writer.write(std::string(999, 'x'));  // 3 MB, and nobody reads
    CHECK(writer.dropped() >= 1800);
    CHECK(writer.dropped() <= 2000);
    // From here on it is read until the line that tells of the gap.
    std::array<char, 65536> buffer{};
    while (text.find("lines were dropped") == std::string::npos) {
      const ssize_t n = ::read(reader.get(), buffer.data(), buffer.size());
      REQUIRE(n > 0);
      text.append(buffer.data(), static_cast<std::size_t>(n));
    }
  }
  CHECK(text.find("supervisor: 1") != std::string::npos);
}

TEST_CASE("a reader that never reads holds the end up for a second at most, one that is gone not at all") {
  auto [reader, writer_end] = pipe_ends();
  const auto begin = std::chrono::steady_clock::now();
  {
    LineWriter writer(writer_end.get());
    for (int i = 0; i < 200; ++i) writer.write(std::string(999, 'x'));
  }
  const auto took = std::chrono::steady_clock::now() - begin;
  CHECK(took >= std::chrono::seconds(1));
  CHECK(took < std::chrono::seconds(3));  // a busy machine is granted two
  reader.reset();
  LineWriter writer(writer_end.get());
  writer.write("to nobody");
}

TEST_CASE("a reader that reads a little now and then holds the end up for a second in all") {
  auto [reader, writer_end] = pipe_ends();
  std::atomic<bool> done = false;
  std::thread slow([&, fd = reader.get()] {  // a page each 100 ms: 900 kB would take 20 s
    std::array<char, 4096> page{};
    while (!done) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      static_cast<void>(::read(fd, page.data(), page.size()));
    }
  });
  const auto begin = std::chrono::steady_clock::now();
  {
    LineWriter writer(writer_end.get());
    for (int i = 0; i < 900; ++i) writer.write(std::string(999, 'x'));
  }
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
  done = true;
  slow.join();
}

TEST_CASE("empty lines that nobody reads are bounded by what they take, not by their length") {
  auto [reader, writer_end] = pipe_ends();
  LineWriter writer(writer_end.get());
  for (int i = 0; i < 200'000; ++i) writer.write("");
  CHECK(writer.dropped() > 100'000);  // what waits takes 33 bytes each, and the pipe holds 65536 more
}

TEST_CASE("lines wait while a file takes none, and come out whole once it takes them again") {
  const LogFile file;
  LineWriter writer(file.fd.get());
  {
    const MaxFileSize limit(20);
    writer.write("the first line");
    writer.write("the second line");
    CHECK(file.ends_in_time("the first line\nthe s"));
  }
  writer.write("the third line");
  CHECK(file.ends_in_time("the first line\nthe second line\nthe third line\n"));
  CHECK(writer.dropped() == 0);
}

TEST_CASE("the lines that a full disk leaves no room for are counted, and reported once there is room") {
  const LogFile file;
  LineWriter writer(file.fd.get());
  {
    const MaxFileSize limit(0);
    for (int i = 0; i < 2000; ++i) writer.write(std::string(999, 'x'));
  }
  CHECK(writer.dropped() > 0);
  CHECK(file.ends_in_time("supervisor: " + std::to_string(writer.dropped()) +
                          " lines were dropped: nobody read them, or they could not be written\n"));
}

TEST_CASE("a full disk does not hold up the end") {
  const LogFile file;
  const MaxFileSize limit(0);
  const auto begin = std::chrono::steady_clock::now();
  {
    LineWriter writer(file.fd.get());
    writer.write("to a full disk");
  }
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(2));
}
