#include "supervisor/history/oom_kills.h"

#include <algorithm>
#include <fstream>

namespace kms::supervisor {
namespace {

namespace fs = std::filesystem;

/// The value of the line "oom_kill N"; empty if the file has none.
std::optional<std::uint64_t> count_in(const fs::path& file) {
  std::ifstream lines(file);
  std::string name;
  std::uint64_t value = 0;
  while (lines >> name >> value) {
    if (name == "oom_kill") return value;
  }
  return std::nullopt;
}

/// This process' cgroup in the hierarchy of `controller` (cgroups(7), "/proc files"); "" is the unified one.
std::string cgroup_of(const fs::path& root, const std::string& controller) {
  std::ifstream lines(root / "proc/self/cgroup");
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers == "," + controller + "," ||
        (!controller.empty() && controllers.find("," + controller + ",") != std::string::npos)) {
      return line.substr(second + 2);
    }
  }
  return "";
}

/// A container has the directory of its cgroup mounted in place of the hierarchy's root.
fs::path counter_of(const fs::path& root) {
  const fs::path mounted = root / "sys/fs/cgroup";
  for (const fs::path& file : {mounted / cgroup_of(root, "") / "memory.events", mounted / "memory.events",
                               mounted / "memory" / cgroup_of(root, "memory") / "memory.oom_control",
                               mounted / "memory/memory.oom_control", root / "proc/vmstat"}) {
    if (count_in(file)) return file;
  }
  return {};
}

}  // namespace

OomKills::OomKills(const fs::path& root)
    : file_(counter_of(root)), seen_(count().value_or(0)), aged_(seen_) {}

std::optional<std::uint64_t> OomKills::count() const {
  return file_.empty() ? std::nullopt : count_in(file_);
}

void OomKills::age() {
  seen_ = std::max(seen_, aged_);
  aged_ = count().value_or(aged_);
}

bool OomKills::claim() {
  if (count().value_or(seen_) <= seen_) return false;
  ++seen_;
  return true;
}

}  // namespace kms::supervisor
