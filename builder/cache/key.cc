#include "builder/cache/key.h"

#include <sys/stat.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <vector>

#include "common/crypto/sha256.h"
#include "common/error.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;

/// Raise it with each change of how the builder compiles.
constexpr auto recipe_version = "3";

constexpr std::array<std::string_view, 4> wanted_sections{"libs", "libdevel", "devel", "golang"};

constexpr std::array local_directories{"usr/local/lib", "usr/local/lib64", "usr/local/lib/pkgconfig",
                                       "usr/local/include"};
constexpr std::array library_directories{"usr/lib", "usr/lib64", "usr/lib64/pkgconfig", "usr/include"};

std::string stamp(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) < 0) return file.string() + "\n";
  return file.string() + " " + std::to_string(status.st_size) + " " + std::to_string(status.st_mtim.tv_sec) +
         "\n";
}

/// Adds the mode, the modification time to the nanosecond, and a link's target.
std::string exact_stamp(const fs::path& file) {
  struct stat status {};
  if (::lstat(file.c_str(), &status) < 0) return file.string() + "\n";
  std::error_code gone;
  const std::string target = S_ISLNK(status.st_mode) ? fs::read_symlink(file, gone).string() : "";
  return std::to_string(file.native().size()) + " " + file.string() + " " + std::to_string(status.st_mode) +
         " " + std::to_string(status.st_size) + " " + std::to_string(status.st_mtim.tv_sec) + "." +
         std::to_string(status.st_mtim.tv_nsec) + " " + target + "\n";
}

std::string sorted(std::vector<std::string> lines) {
  std::sort(lines.begin(), lines.end());
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

std::string listing(const fs::path& directory) {
  std::vector<std::string> lines;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error); !error && entry != fs::end(entry);
       entry.increment(error))
    lines.push_back(stamp(entry->path()));
  return sorted(std::move(lines));
}

/// Reads dpkg's database, a paragraph for each package (deb-control(5)); "" if there is none.
std::string packages(const fs::path& database) {
  std::ifstream file(database);
  std::string text;
  std::string name;
  std::string version;
  bool wanted = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("Package: ")) {
      name = line.substr(9);
      wanted = false;
    } else if (line.starts_with("Section: ")) {
      const std::string section = line.substr(line.find_last_of(" /") + 1);
      wanted = std::find(wanted_sections.begin(), wanted_sections.end(), section) != wanted_sections.end();
    } else if (line.starts_with("Version: ")) {
      version = line.substr(9);
    } else if (line.empty() && wanted) {
      text.append(name).append(" ").append(version).append("\n");
    }
  }
  return text;
}

std::string architecture() {
  utsname names{};
  if (::uname(&names) < 0) throw_errno("read the machine's architecture");
  return names.machine;
}

}  // namespace

std::string installed_libraries(const std::string& root) {
  std::string text = packages(fs::path(root) / "var/lib/dpkg/status");
  if (text.empty()) {
    for (const char* directory : library_directories) text += listing(fs::path(root) / directory);
  }
  for (const char* directory : local_directories) text += listing(fs::path(root) / directory);
  return text;
}

std::string stamp_of_inputs(const std::vector<std::string>& paths) {
  if (paths.empty()) return "";
  std::vector<std::string> lines;
  for (const std::string& path : paths) {
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    lines.push_back(path + (error ? " is not there\n" : " is\n" + exact_stamp(real)));
    if (error || !fs::is_directory(real)) continue;
    const auto unreadable =
        fs::directory_options::skip_permission_denied;  // the compiler cannot read it either
    for (fs::recursive_directory_iterator entry(real, unreadable, error); !error && entry != fs::end(entry);
         entry.increment(error))
      lines.push_back(exact_stamp(entry->path()));
    if (error) throw Error("cannot read " + path + ": " + error.message(), "check --input");
  }
  return sha256_hex(bytes_of(sorted(std::move(lines))));
}

std::string build_key(const mock_kms::v1::BuildInfo& info, const Recipe& recipe) {
  std::string text;
  const auto add = [&](const std::string& name, const std::string& value) {
    text += name + " " + std::to_string(value.size()) + " " + value + "\n";  // the size keeps values apart
  };
  add("recipe", recipe_version);
  add("architecture", architecture());
  add("system", info.build_system());
  add("target", info.target());
  add("compiler", info.compiler().version());
  add("compiler-file", stamp(info.compiler().path()));
  for (const std::string& flag : info.flags()) add("flag", flag);
  for (const std::string& entry : recipe.environment) add("environment", entry);  // a flag may read the same
  add("modules", recipe.download_modules ? "download" : "off");
  add("inputs", recipe.inputs);
  for (const auto& path : info.paths()) add("path " + path.id(), path.path());
  add("libraries", sha256_hex(bytes_of(installed_libraries("/"))));
  return sha256_hex(bytes_of(text));
}

}  // namespace kms::builder
