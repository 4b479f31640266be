#include "builder/run/interruption.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <csignal>

using kms::UniqueFd;
using kms::builder::Interruption;

namespace {

/// Nobody reads stderr while it lives.
class BlockedStderr {
 public:
  BlockedStderr() {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
    reader_.reset(ends[0]);
    const UniqueFd writer(ends[1]);
    while (::write(writer.get(), "x", 1) == 1) {
    }
    REQUIRE(::dup2(writer.get(), STDERR_FILENO) == STDERR_FILENO);
  }
  BlockedStderr(const BlockedStderr&) = delete;
  BlockedStderr& operator=(const BlockedStderr&) = delete;
  ~BlockedStderr() { ::dup2(before_.get(), STDERR_FILENO); }

 private:
  UniqueFd before_{::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)};
  UniqueFd reader_;
};

}  // namespace

TEST_CASE("a signal does not end a process whose work has ended in time") {
  const BlockedStderr blocked;
  {
    const Interruption interruption;
    REQUIRE(::raise(SIGTERM) == 0);
    CHECK(interruption.requested());
    ::usleep(200'000);  // the watcher has seen it
    CHECK(interruption.take_name() == "SIGTERM");
  }
  ::usleep(3'500'000);  // a builder that is stuck has ended after 3 s
}
