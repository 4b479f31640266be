// The number of jobs follows the limits of control groups, of version 1 and 2.
#include "builder/compile/toolchain.h"

#include <doctest/doctest.h>

#include <fstream>

#include "tests/support/temp_directory.h"

namespace {

namespace fs = std::filesystem;
using namespace kms::builder;

/// A system's /proc and /sys.
class System {
 public:
  System& with(const std::string& path, const std::string& text) {
    const fs::path file = directory_.path() / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
    return *this;
  }

  [[nodiscard]] unsigned jobs(unsigned processors) const {
    return jobs_within(cgroup_limits(directory_.path()), processors);
  }

 private:
  kms::test::TempDirectory directory_;
};

}  // namespace

TEST_CASE("without limits there is a job for each processor") {
  CHECK(System().jobs(4) == 4);
  CHECK(System().with("proc/self/cgroup", "0::/a").with("sys/fs/cgroup/a/cpu.max", "max 100000").jobs(4) ==
        4);
  CHECK(jobs_within({}, 0) == 1);
}

TEST_CASE("the quota of processors counts, also one of a group above, of version 2") {
  System system;
  system.with("proc/self/cgroup", "0::/a/b").with("sys/fs/cgroup/a/b/cpu.max", "150000 100000");
  CHECK(system.jobs(4) == 2);
  CHECK(system.with("sys/fs/cgroup/a/cpu.max", "50000 100000").jobs(4) == 1);
}

TEST_CASE("the quota of processors counts, of version 1") {
  System system;
  system.with("proc/self/cgroup", "4:memory:/a\n3:cpu,cpuacct:/a\n0::/");
  system.with("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1");
  system.with("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000");
  CHECK(system.jobs(4) == 4);
  CHECK(system.with("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "50000").jobs(4) == 1);
}

TEST_CASE("the controllers of version 1 may be mounted in another order") {
  System system;
  system.with("proc/self/cgroup", "3:cpuacct,cpu:/a").with("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "50000");
  CHECK(system.with("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000").jobs(4) == 1);
}

TEST_CASE("memory counts for each job") {
  System second;
  second.with("proc/self/cgroup", "0::/").with("sys/fs/cgroup/memory.max", "1300000000");
  CHECK(second.jobs(8) == 2);
  System first;
  first.with("proc/self/cgroup", "4:memory:/a")
      .with("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "100000000");
  CHECK(first.jobs(8) == 1);
  CHECK(first.with("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712").jobs(8) == 8);
}
