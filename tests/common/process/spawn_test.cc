#include "common/process/spawn.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <sstream>
#include <thread>

#include "common/error.h"
#include "common/io/fd.h"
#include "common/process/exit_status.h"
#include "tests/support/temp_directory.h"

namespace {

using kms::UniqueFd;
using kms::process::ExitStatus;
using kms::process::Launch;

ExitStatus wait_for(pid_t pid) {
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return ExitStatus::from_wait(status);
}

/// The launched command's output on stdout.
std::string output_of(Launch launch) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  launch.fds = {-1, writer.get(), -1};
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

std::string output_of(std::vector<std::string> command) {
  return output_of(Launch{std::move(command), kms::process::own_environment(), {}, "", true});
}

std::string failure_of(std::vector<std::string> command) {
  try {
    (void)kms::process::spawn({std::move(command), {}, {}, "", true});
  } catch (const kms::Error& error) {
    return error.what();
  }
  return "";
}

std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
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

TEST_CASE("a file that is not a program is an error that names the cause, with a next step") {
  const auto before = open_descriptors();
  const kms::test::TempDirectory directory;
  const auto executable = [&directory](const std::string& name, const std::string& text) {
    const std::string path = directory.write(name, text);
    REQUIRE(::chmod(path.c_str(), 0755) == 0);
    return path;
  };
  CHECK(failure_of({"/no/such/program"}) ==
        "cannot start /no/such/program: No such file or directory; check the command's path");
  CHECK(failure_of({"no-such-program"}) ==
        "cannot start no-such-program: not found in PATH; check the command's path");
  CHECK(failure_of({"/etc/passwd"}).find("Permission denied; make the file executable") != std::string::npos);
  CHECK(failure_of({directory.path().string()}).find("it is a directory") != std::string::npos);
  CHECK(failure_of({executable("script", "#!/no/such/shell\n")})
            .find("the interpreter that its first line names") != std::string::npos);
  CHECK(failure_of({executable("text", "no program")}).find("not a program for this machine") !=
        std::string::npos);
  CHECK(open_descriptors() == before);
  CHECK(::waitpid(-1, nullptr, 0) == -1);  // nothing is left to be reaped
}

TEST_CASE("a child gets its own pid in a variable") {
  Launch launch{{"sh", "-c", "[ $OWN = $$ ] && echo same"}, kms::process::own_environment(), {}, "", true};
  launch.pid_variable = "OWN";
  CHECK(output_of(launch) == "same\n");
}

TEST_CASE("a child dies with the thread that started it") {
  Launch launch{{"sleep", "1000"}, kms::process::own_environment(), {-1, -1, -1}, "", true};
  launch.dies_with_caller = true;
  pid_t pid = 0;
  std::thread([&] { pid = kms::process::spawn(launch); }).join();
  const ExitStatus end = wait_for(pid);
  CHECK(end.signaled());
  CHECK(end.value() == SIGKILL);
}

TEST_CASE("limits and a user are the child's alone") {
  const auto shell = [](const std::string& script) {
    return Launch{{"sh", "-c", script}, kms::process::own_environment(), {}, "/", true};
  };
  const std::string limits =
      R"(sed -n 's/^Max \(data size\|processes\) *\([^ ]*\) .*/\2/p' /proc/self/limits; )";
  const std::string user = "id -u; id -G";
  const std::string before = output_of(shell(limits + user));
  Launch launch = shell(limits + user);
  launch.memory = std::uint64_t{512} << 20;
  launch.threads = 77777;
  if (::geteuid() == 0) launch.identity = kms::process::Identity{65534, 65534, {65533}};
  CHECK(output_of(launch) ==
        "536870912\n77777\n" + (launch.identity ? "65534\n65534 65533\n" : output_of(shell(user))));
  CHECK(output_of(shell(limits + user)) == before);
  CHECK(::prctl(PR_GET_DUMPABLE) == 1);
}

TEST_CASE("a failure before the exec names the step that failed") {
  Launch launch{{"true"}, {}, {-1, -1, -1}, "/no/such/directory", true};
  CHECK_THROWS_WITH_AS((void)kms::process::spawn(launch),
                       ("cannot start " + kms::process::find_program("true") +
                        ": cannot enter its directory: No such file or directory")
                           .c_str(),
                       kms::Error);
}

TEST_CASE("an exit status is described in words") {
  CHECK(ExitStatus::from_wait(3 << 8).text() == "exited with code 3");
  CHECK(ExitStatus::from_wait(SIGKILL).text() == "killed by SIGKILL (signal 9, Killed)");
  CHECK(ExitStatus::from_wait(SIGSEGV | 0x80).text() ==
        "killed by SIGSEGV (signal 11, Segmentation fault), core dumped");
  CHECK(ExitStatus::from_wait(0).success());
}
