#include "common/process/run.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>
#include <vector>

#include "common/error.h"
#include "common/io/fd.h"

namespace {

using namespace std::chrono_literals;
using kms::UniqueFd;
using kms::process::ExitStatus;
using kms::process::Launch;
using kms::process::RunEnd;
using kms::process::RunLimits;
using kms::process::Stopped;
using kms::process::TimedOut;

struct Ran {
  RunEnd end;
  std::vector<std::string> lines;
};

Ran run_shell(const std::string& script, const RunLimits& limits = {}) {
  std::vector<std::string> lines;
  const Launch launch{{"sh", "-c", script}, kms::process::own_environment(), {}, "", true};
  RunEnd end = kms::process::run(launch, limits, [&](std::string_view line) { lines.emplace_back(line); });
  return {end, lines};
}

/// Waits until the process is gone. It is watched by a pidfd, so nothing is polled.
bool ends_within(pid_t pid, std::chrono::milliseconds limit) {
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) return true;
  pollfd entry{pidfd.get(), POLLIN, 0};
  return ::poll(&entry, 1, static_cast<int>(limit.count())) == 1;
}

}  // namespace

TEST_CASE("a command's stdout and stderr arrive as lines, and its exit code after them") {
  const Ran ran = run_shell("echo one; echo two >&2; printf three; exit 7");
  CHECK(ran.lines == std::vector<std::string>{"one", "two", "three"});
  CHECK(std::get<ExitStatus>(ran.end).value() == 7);
}

TEST_CASE("a line without end comes in pieces instead of filling the memory") {
  const Ran ran = run_shell("head -c 200000 /dev/zero | tr '\\0' x");
  REQUIRE(ran.lines.size() == 4);
  CHECK(ran.lines[0].size() == 64 * 1024);
}

TEST_CASE("a command reads nothing from the caller's stdin") {
  CHECK(run_shell("cat; echo end").lines == std::vector<std::string>{"end"});
}

TEST_CASE("at the deadline the whole group is ended, also one that ignores TERM") {
  const Ran ran =
      run_shell("trap '' TERM; sh -c 'echo $$; exec sleep 1000' & wait; sleep 1000", {300ms, 100ms, -1});
  CHECK(std::holds_alternative<TimedOut>(ran.end));
  REQUIRE(ran.lines.size() == 1);
  CHECK(ends_within(std::stoi(ran.lines[0]), 5s));
}

TEST_CASE("a readable stop descriptor ends the command") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  writer.reset();  // an end of file is readable
  const Ran ran = run_shell("exec sleep 1000", {1h, 1s, reader.get()});
  CHECK(std::holds_alternative<Stopped>(ran.end));
}

TEST_CASE("a process that an ended leader leaves behind is killed, and does not hold the caller up") {
  const Ran ran = run_shell("sleep 1000 & echo $!; exit 0");
  CHECK(std::get<ExitStatus>(ran.end).success());
  REQUIRE(ran.lines.size() == 1);
  CHECK(ends_within(std::stoi(ran.lines[0]), 5s));
}

TEST_CASE("a process that left the group and never stops writing does not hold the caller up") {
  const auto ignore = [](std::string_view) {};
  const auto shell = [](const std::string& script) {
    return Launch{{"sh", "-c", script}, kms::process::own_environment(), {}, "", true};
  };
  SUBCASE("after the leader's end") {
    const RunEnd end = kms::process::run(shell("setsid yes & sleep 0.1; exit 3"), {10s, 1s, -1}, ignore);
    CHECK(std::get<ExitStatus>(end).value() == 3);
  }
  SUBCASE("at the deadline") {
    const RunEnd end = kms::process::run(shell("setsid yes & exec sleep 1000"), {300ms, 1s, -1}, ignore);
    CHECK(std::holds_alternative<TimedOut>(end));
  }
  SUBCASE("when asked to stop") {
    std::array<int, 2> ends{};
    REQUIRE(::pipe(ends.data()) == 0);
    const UniqueFd reader(ends[0]);
    UniqueFd(ends[1]).reset();
    const RunEnd end =
        kms::process::run(shell("setsid yes & exec sleep 1000"), {1h, 1s, reader.get()}, ignore);
    CHECK(std::holds_alternative<Stopped>(end));
  }
}

TEST_CASE("an exception of the callback reaches the caller after the group's end") {
  const Launch launch{{"sh", "-c", "echo $$; sleep 1000"}, kms::process::own_environment(), {}, "", true};
  pid_t pid = 0;
  const auto throwing = [&](std::string_view line) {
    pid = std::stoi(std::string(line));
    throw kms::Error("enough");
  };
  CHECK_THROWS_WITH_AS((void)kms::process::run(launch, {}, throwing), "enough", kms::Error);
  CHECK(ends_within(pid, 5s));
}

TEST_CASE("a command whose end cannot be read has failed") {
  const auto before = ::signal(SIGCHLD, SIG_IGN);  // the kernel then reaps the children itself
  const Launch launch{{"sleep", "0.2"}, kms::process::own_environment(), {}, "", true};
  CHECK_THROWS_WITH_AS((void)kms::process::run(launch, {}, [](std::string_view) {}),
                       "cannot read how a command ended: No child processes", kms::Error);
  ::signal(SIGCHLD, before);
}

TEST_CASE("a command that cannot be started is an error") {
  const Launch launch{{"/no/such/program"}, {}, {}, "", true};
  CHECK_THROWS_AS((void)kms::process::run(launch, {}, [](std::string_view) {}), kms::Error);
}
