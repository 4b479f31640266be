#include "provider/core/lossy_writer.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

#include "common/io/fd.h"

using kms::UniqueFd;
using kms::provider::LossyWriter;

namespace {

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    reader.reset(ends[0]);
    writer.reset(ends[1]);
    ::fcntl(reader.get(), F_SETFL, O_NONBLOCK);
  }

  /// Everything that waits in the pipe.
  std::string read() const {
    std::string text;
    std::array<char, 4096> part{};
    for (ssize_t n = 0; (n = ::read(reader.get(), part.data(), part.size())) > 0;)
      text.append(part.data(), static_cast<std::size_t>(n));
    return text;
  }

  UniqueFd reader;
  UniqueFd writer;
};

}  // namespace

TEST_CASE("lines that nobody reads are dropped and counted, and those that fit are whole") {
  const Pipe pipe;
  LossyWriter lines(pipe.writer.get(), "tester");
  const std::string line(99, 'x');
  constexpr unsigned written = 2000;  // a pipe holds 65536 bytes
  for (unsigned i = 0; i < written; ++i) lines.write(line);
  const std::string kept = pipe.read();
  const std::size_t whole = kept.size() / (line.size() + 1);
  CHECK(kept.size() % (line.size() + 1) == 0);
  CHECK(whole > 100);
  lines.write("again");
  CHECK(pipe.read() ==
        "tester: " + std::to_string(written - whole) + " lines were dropped: nobody read them\nagain\n");
  lines.write("and again");
  CHECK(pipe.read() == "and again\n");
}

TEST_CASE("a line that was cut ends before the next one") {
  const Pipe pipe;
  LossyWriter lines(pipe.writer.get(), "tester");
  lines.write(std::string(100'000, 'x'));
  const std::string kept = pipe.read();
  CHECK(kept == std::string(kept.size(), 'x'));
  lines.write("next");
  CHECK(pipe.read() == "\ntester: 1 lines were dropped: nobody read them\nnext\n");
}

TEST_CASE("a reader that is gone takes everything") {
  Pipe pipe;
  pipe.reader.reset();
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  LossyWriter lines(pipe.writer.get(), "tester");
  lines.write("lost");
  std::signal(SIGPIPE, before);
}
