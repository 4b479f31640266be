#include "supervisor/history/oom_kills.h"

#include <doctest/doctest.h>

#include "tests/support/temp_directory.h"

namespace kms::supervisor {
namespace {

namespace fs = std::filesystem;
using test::TempDirectory;

}  // namespace

TEST_CASE("an out-of-memory kill is claimed once, by the counter of cgroup v2") {
  const TempDirectory root;
  root.write("proc/self/cgroup", "0::/kubepods/pod7\n");
  const fs::path events =
      root.write("sys/fs/cgroup/kubepods/pod7/memory.events", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 3\n");
  OomKills kills(root.path());
  CHECK(kills.file() == events);
  CHECK_FALSE(kills.claim());
  root.write("sys/fs/cgroup/kubepods/pod7/memory.events", "low 0\nhigh 0\nmax 12\noom 4\noom_kill 4\n");
  CHECK(kills.claim());
  CHECK_FALSE(kills.claim());
}

TEST_CASE(
    "the counter of cgroup v1 is found in the process' own group, and in a container at the mount's root") {
  const TempDirectory root;
  root.write("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/docker/c1\n0::/\n");
  const fs::path mounted =
      root.write("sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
  CHECK(OomKills(root.path()).file() == mounted);
  const fs::path own = root.write("sys/fs/cgroup/memory/docker/c1/memory.oom_control",
                                  "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
  CHECK(OomKills(root.path()).file() == own);
}

TEST_CASE("without a memory cgroup the machine's counter serves, and without any nothing is claimed") {
  const TempDirectory root;
  CHECK_FALSE(OomKills(root.path()).claim());
  root.write("proc/vmstat", "nr_free_pages 5\noom_kill 7\n");
  OomKills kills(root.path());
  CHECK(kills.file() == root.path() / "proc/vmstat");
  root.write("proc/vmstat", "nr_free_pages 5\noom_kill 9\n");
  CHECK(kills.claim());
  CHECK(kills.claim());
  CHECK_FALSE(kills.claim());
}

TEST_CASE("a kill that nobody claimed in time was another process', and explains no later death") {
  const TempDirectory root;
  root.write("proc/vmstat", "oom_kill 7\n");
  OomKills kills(root.path());
  root.write("proc/vmstat", "oom_kill 8\n");
  kills.age();
  kills.age();
  CHECK_FALSE(kills.claim());
  root.write("proc/vmstat", "oom_kill 9\n");
  kills.age();  // a process of many pages takes a while to end
  CHECK(kills.claim());
  CHECK_FALSE(kills.claim());
}

}  // namespace kms::supervisor
