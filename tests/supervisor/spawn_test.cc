#include "supervisor/process/spawn.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <sstream>

#include "proto/program/error.h"
#include "proto/program/unique_fd.h"
#include "supervisor/process/exit_status.h"

namespace {

using kms::UniqueFd;
using kms::process::ExitStatus;
using kms::process::Launch;

ExitStatus wait_for(pid_t pid) {
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return ExitStatus::from_wait(status);
}

/// What `command` wrote on its stdout.
std::string output_of(std::vector<std::string> command) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  Launch launch{std::move(command), kms::process::own_environment(), {-1, writer.get(), -1}, "", true};
  const pid_t pid = kms::process::spawn(launch);
  writer.reset();
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = ::read(reader.get(), buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  CHECK(wait_for(pid).success());
  return text;
}

}  // namespace

TEST_CASE("a child inherits no descriptor but those that it is given") {
  const UniqueFd stray(::open("/dev/null", O_RDONLY));  // no CLOEXEC, on purpose
  REQUIRE(stray);
  CHECK(output_of({"sh", "-c", "for n in $(seq 0 99); do [ -e /proc/$$/fd/$n ] && echo $n; done; true"}) ==
        "0\n1\n2\n");
}

TEST_CASE("a child starts with no blocked and no ignored signal") {
  sigset_t blocked;
  sigset_t before;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGTERM);
  REQUIRE(::pthread_sigmask(SIG_BLOCK, &blocked, &before) == 0);
  const auto ignored = ::signal(SIGUSR1, SIG_IGN);
  const std::string status = output_of({"sed", "-n", "s/^Sig\\(Blk\\|Ign\\):.//p", "/proc/self/status"});
  ::signal(SIGUSR1, ignored);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  std::istringstream lines(status);
  unsigned long long mask = 0;
  unsigned long long ignored_signals = 0;
  lines >> std::hex >> mask >> ignored_signals;
  REQUIRE_FALSE(lines.fail());
  CHECK(mask == 0);
  CHECK((ignored_signals & 0x7FFFFFFF) == 0);  // the bits above are 32 and up, which glibc keeps to itself
}

TEST_CASE("descriptors arrive in their order even where sources and targets overlap") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  // The pipe's numbers are small, so listing the writer as 3 and the reader as 4 may cross them.
  Launch launch{{"sh", "-c", "echo three >&3; read line <&4; echo got $line >&3"},
                kms::process::own_environment(),
                {-1, -1, -1, writer.get(), reader.get()},
                "",
                true};
  CHECK(wait_for(kms::process::spawn(launch)).success());
}

TEST_CASE("a program that is missing or not executable is an error with a next step") {
  CHECK_THROWS_WITH_AS((void)kms::process::spawn({{"/no/such/program"}, {}, {}, "", true}),
                       "cannot start /no/such/program: No such file or directory; check the command's path",
                       kms::Error);
  CHECK_THROWS_AS((void)kms::process::spawn({{"/etc/passwd"}, {}, {}, "", true}), kms::Error);
}

TEST_CASE("an end is told in words") {
  CHECK(ExitStatus::from_wait(3 << 8).text() == "exited with code 3");
  CHECK(ExitStatus::from_wait(SIGKILL).text() == "killed by SIGKILL (signal 9, Killed)");
  CHECK(ExitStatus::from_wait(SIGSEGV | 0x80).text() ==
        "killed by SIGSEGV (signal 11, Segmentation fault), core dumped");
  CHECK(ExitStatus::from_wait(0).success());
}
