#include "builder/compile/toolchain.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

#include "common/error.h"
#include "common/process/run.h"

namespace kms::builder {
namespace {

using namespace std::chrono_literals;

/// In the order of BuildSystem.
constexpr std::array<const char*, 5> build_systems{"auto", "cmake", "go", "make", "command"};

/// GCC 12 needs 510 MB for the largest source of mock-kms-provider.
constexpr std::uint64_t memory_per_job = 600'000'000;

constexpr double no_memory_limit = 1e15;  ///< version 1 writes "no limit" as a number above this

constexpr auto compiler_hint = "install g++ or clang, or set CXX to a compiler";

/// Returns the absolute path of a program in PATH, or "".
std::string find_program(const std::string& name) {
  const auto usable = [](const std::string& path) {
    std::error_code ignored;  // an unreadable directory has no usable program
    return std::filesystem::is_regular_file(path, ignored) && ::access(path.c_str(), X_OK) == 0;
  };
  if (name.find('/') != std::string::npos)
    return usable(name) ? std::filesystem::absolute(name).string() : "";
  const char* path = std::getenv("PATH");
  std::istringstream directories(path == nullptr ? "" : path);
  for (std::string directory; std::getline(directories, directory, ':');) {
    if (!directory.starts_with('/')) continue;
    directory.append("/").append(name);
    if (usable(directory)) return directory;
  }
  return "";
}

/// "" if there is none and `optional` allows that.
std::string find_compiler(bool optional) {
  if (const char* chosen = std::getenv("CXX"); chosen != nullptr && *chosen != '\0') {
    std::string path = find_program(chosen);
    if (path.empty())
      throw Error("cannot find the compiler '" + std::string(chosen) + "' that CXX names", compiler_hint);
    return path;
  }
  for (const char* name : {"c++", "g++", "clang++"}) {
    if (std::string path = find_program(name); !path.empty()) return path;
  }
  if (optional) return "";
  throw Error("cannot find a C++ compiler: PATH holds none of c++, g++ and clang++", compiler_hint);
}

std::string require_program(const std::string& name, const std::string& package) {
  std::string path = find_program(name);
  if (path.empty()) throw Error("cannot find " + name + " in PATH", "install " + package);
  return path;
}

std::string find_generator() {
  if (!find_program("ninja").empty()) return "Ninja";
  if (!find_program("make").empty()) return "Unix Makefiles";
  throw Error("cannot find ninja or make in PATH", "install ninja-build or make");
}

/// Returns 1 on machines beyond the 1,024 processors of cpu_set_t (sched_getaffinity(2)).
unsigned usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) < 0) return 1;
  return static_cast<unsigned>(CPU_COUNT(&set));
}

/// The first two numbers of a file; "max" (v2) and -1 (v1) stand for no limit.
std::vector<double> numbers_of(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::vector<double> numbers;
  for (double number = 0; numbers.size() < 2 && stream >> number;) numbers.push_back(number);
  return numbers;
}

void lower(std::optional<double>& limit, double value) { limit = std::min(limit.value_or(value), value); }

/// Reads a cgroup's own limits, of version 2 (cpu.max, memory.max) and 1 (the others); the lowest counts.
void read_limits(const std::filesystem::path& directory, CgroupLimits& limits) {
  const auto cpu = numbers_of(directory / "cpu.max");
  if (cpu.size() == 2 && cpu[1] > 0) lower(limits.processors, cpu[0] / cpu[1]);
  const auto quota = numbers_of(directory / "cpu.cfs_quota_us");
  const auto period = numbers_of(directory / "cpu.cfs_period_us");
  if (!quota.empty() && quota[0] > 0 && !period.empty() && period[0] > 0)
    lower(limits.processors, quota[0] / period[0]);
  for (const char* name : {"memory.max", "memory.limit_in_bytes"}) {
    const auto bytes = numbers_of(directory / name);
    if (bytes.empty() || bytes[0] <= 0 || bytes[0] > no_memory_limit) continue;
    const auto value = static_cast<std::uint64_t>(bytes[0]);
    limits.memory = std::min(limits.memory.value_or(value), value);
  }
}

/// The directories of a line of /proc/self/cgroup (cgroups(7)), up to the root: the limits above count too.
std::vector<std::filesystem::path> directories_of(const std::filesystem::path& root,
                                                  const std::string& controllers, const std::string& group) {
  const std::filesystem::path mounts = root / "sys/fs/cgroup";
  std::vector<std::filesystem::path> mounted{mounts / controllers};  // version 1: "cpu,cpuacct"
  if (controllers.empty()) mounted = {mounts, mounts / "unified"};
  // "cpuacct,cpu" may be mounted as "cpu,cpuacct"; then each controller has a link of its own name.
  std::istringstream names(controllers.find(',') == std::string::npos ? "" : controllers);
  for (std::string name; std::getline(names, name, ',');) mounted.push_back(mounts / name);
  std::vector<std::filesystem::path> directories;
  for (const std::filesystem::path& mount : mounted) {
    for (std::filesystem::path path = group; path.has_relative_path(); path = path.parent_path())
      directories.push_back(mount / path.relative_path());
    directories.push_back(mount);
  }
  return directories;
}

std::string version_of(const std::string& compiler, const char* option, const Interruption& interruption) {
  std::string first_line;
  const process::RunEnd end = process::run({{compiler, option}, process::own_environment(), {}, "", true},
                                           {10s, 1s, interruption.fd()}, [&](std::string_view line) {
                                             if (first_line.empty()) first_line = line;
                                           });
  interruption.check();
  const auto* status = std::get_if<process::ExitStatus>(&end);
  if (status == nullptr || !status->success()) {
    throw Error("cannot use the compiler " + compiler + ": its " + option + " " +
                    (status == nullptr ? "did not end within 10 s" : status->text()),
                compiler_hint);
  }
  return first_line;
}

}  // namespace

const char* name_of(BuildSystem system) { return build_systems.at(static_cast<std::size_t>(system)); }

std::optional<BuildSystem> system_of(std::string_view name) {
  const auto* found = std::find(build_systems.begin(), build_systems.end(), name);
  if (found == build_systems.end()) return std::nullopt;
  return static_cast<BuildSystem>(found - build_systems.begin());
}

std::filesystem::path ccache_directory(const std::filesystem::path& build_dir, bool isolated) {
  if (find_program("ccache").empty() || std::getenv("CCACHE_DISABLE") != nullptr) return "";
  const char* chosen = std::getenv("CCACHE_DIR");
  const bool own = chosen == nullptr || *chosen != '/';
  const std::filesystem::path directory = own ? build_dir / "ccache" : std::filesystem::path(chosen);
  return isolated && ::geteuid() == 0 ? directory / "isolated" : directory;
}

unsigned jobs_within(const CgroupLimits& limits, unsigned processors) {
  unsigned jobs = std::max(processors, 1U);
  if (limits.processors) jobs = std::min(jobs, static_cast<unsigned>(std::ceil(*limits.processors)));
  if (limits.memory)
    jobs = static_cast<unsigned>(std::min<std::uint64_t>(jobs, *limits.memory / memory_per_job));
  return std::max(jobs, 1U);
}

CgroupLimits cgroup_limits(const std::filesystem::path& root) {
  CgroupLimits limits;
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    for (const std::filesystem::path& directory : directories_of(root, controllers, line.substr(second + 1)))
      read_limits(directory, limits);
  }
  return limits;
}

Toolchain Toolchain::find(BuildSystem system, const Interruption& interruption) {
  Toolchain found;
  found.jobs = jobs_within(cgroup_limits("/"), usable_processors());
  if (system == BuildSystem::go) {
    found.driver = found.compiler = require_program("go", "golang-go");
    found.compiler_version = version_of(found.compiler, "version", interruption);
    return found;
  }
  const bool optional = system != BuildSystem::cmake;
  found.compiler = find_compiler(optional);
  if (!found.compiler.empty()) found.compiler_version = version_of(found.compiler, "--version", interruption);
  if (system == BuildSystem::make) {
    found.driver = require_program("make", "make");
  } else if (system == BuildSystem::command) {
    found.driver = "/bin/sh";
  } else {
    found.driver = require_program("cmake", "cmake");
    found.generator = find_generator();
  }
  return found;
}

}  // namespace kms::builder
