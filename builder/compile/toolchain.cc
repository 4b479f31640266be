#include "builder/compile/toolchain.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <system_error>

#include "common/error.h"
#include "common/process/run.h"

namespace kms::builder {
namespace {

using namespace std::chrono_literals;

/// In the order of BuildSystem.
constexpr std::array<const char*, 5> build_systems{"auto", "cmake", "go", "make", "command"};

constexpr auto compiler_hint = "install g++ or clang, or set CXX to a compiler";

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

std::filesystem::path ccache_directory(const std::filesystem::path& build_dir, bool isolated) {
  if (find_program("ccache").empty() || std::getenv("CCACHE_DISABLE") != nullptr) return "";
  const char* chosen = std::getenv("CCACHE_DIR");
  const bool own = chosen == nullptr || *chosen != '/';
  const std::filesystem::path directory = own ? build_dir / "ccache" : std::filesystem::path(chosen);
  return isolated && ::geteuid() == 0 ? directory / "isolated" : directory;
}

Toolchain Toolchain::find(BuildSystem system, const Interruption& interruption) {
  Toolchain found;
  found.jobs = usable_processors();
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
