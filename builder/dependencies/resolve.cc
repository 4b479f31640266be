#include "builder/dependencies/resolve.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <set>
#include <tuple>

#include "builder/dependencies/cmake.h"
#include "builder/dependencies/go.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_files = 50'000;  ///< of CMake, once for each directory they are included from
constexpr std::uint64_t max_bytes = 100'000'000;  ///< of their text

std::string joined(const std::string& directory, const std::string& name) {
  std::string path = (fs::path(directory) / name).lexically_normal().string();
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path.empty() ? "." : path;
}

std::string parent(const std::string& path) {
  const std::string directory = fs::path(path).parent_path().string();
  return directory.empty() ? "." : directory;
}

bool leads_out(const std::string& path) { return path == ".." || path.starts_with("../"); }

class Search {
 public:
  Search(const SourceTree& tree, const std::vector<std::string>& paths) : tree_(tree), paths_(paths) {}

  /// Go reads the `replace` lines of the main module and of a workspace's modules alone.
  void follow_go() {
    const std::string& project = paths_.front();
    std::vector<std::string> modules{project};
    for (std::string directory = project;; directory = parent(directory)) {
      const std::string work = joined(directory, "go.work");
      if (const auto text = is_covered(work, paths_) ? tree_.read(work) : std::nullopt) {
        const GoDirectories said = go_directories(*text);
        for (const std::string& module : said.modules) {
          need(work, "use " + module, joined(directory, module), true);
          modules.push_back(joined(directory, module));
        }
        for (const std::string& target : said.replacements)
          need(work, "replace ... => " + target, joined(directory, target), true);
        break;  // the nearest one counts
      }
      if (directory == ".") break;
    }
    for (const std::string& module : modules) {
      const std::string file = joined(module, "go.mod");
      const auto text = tree_.read(file);
      if (!text) continue;
      for (const std::string& target : go_directories(*text).replacements)
        need(file, "replace ... => " + target, joined(module, target), true);
    }
  }

  /// From file to file by a list, not by recursion: a hostile chain of them may be long.
  void follow_cmake(const Interruption& interruption) {
    enter_directory(paths_.front());
    while (!open_.empty()) {
      interruption.check();
      const CMakeFile next = std::move(open_.front());
      open_.pop_front();
      read(next);
    }
  }

  std::vector<Need> take() { return std::move(needs_); }

 private:
  struct CMakeFile {
    std::string file;
    std::string current;  ///< CMAKE_CURRENT_SOURCE_DIR: an included file has the one that includes it
    bool operator<(const CMakeFile& other) const {
      return std::tie(file, current) < std::tie(other.file, other.current);
    }
  };

  void enter_directory(const std::string& directory) {
    enter({joined(directory, "CMakeLists.txt"), directory});
  }

  void enter(CMakeFile file) {
    if (!visited_.insert(file).second) return;
    if (visited_.size() > max_files) give_up();
    open_.push_back(std::move(file));
  }

  void read(const CMakeFile& at) {
    const auto text = tree_.read(at.file);
    if (!text) return;
    bytes_ += text->size();
    if (bytes_ > max_bytes) give_up();
    for (const CMakeReference& reference :
         cmake_references(*text, {paths_.front(), at.current, parent(at.file)})) {
      const bool directory = reference.kind == CMakeReference::Kind::directory;
      need(at.file, (directory ? "add_subdirectory(" : "include(") + reference.path + ")", reference.path,
           false);
      if (leads_out(reference.path)) continue;
      if (directory) {
        enter_directory(reference.path);
      } else {
        enter({reference.path, at.current});
      }
    }
  }

  [[noreturn]] void give_up() const {
    throw Error("cannot find out what " + paths_.front() + " needs: its CMake files name others without end",
                "give the directories by --path and --dependencies off, or another --ref");
  }

  void need(const std::string& file, const std::string& words, const std::string& path, bool certain) {
    if (leads_out(path)) {
      // CMake may say it for another case than this one.
      if (certain)
        throw Error("cannot compile " + paths_.front() + ": " + file + " says '" + words +
                        "', which leads out of the repository",
                    "give another --ref, or --dependencies off");
      return;
    }
    if (is_covered(path, paths_) || !needed_.insert(path).second) return;
    needs_.push_back({path, file + " says " + words});
  }

  const SourceTree& tree_;
  const std::vector<std::string>& paths_;
  std::deque<CMakeFile> open_;
  std::set<CMakeFile> visited_;
  std::uint64_t bytes_ = 0;  ///< of CMake's text, read so far
  std::set<std::string> needed_;
  std::vector<Need> needs_;
};

}  // namespace

bool is_covered(const std::string& path, const std::vector<std::string>& paths) {
  return std::any_of(paths.begin(), paths.end(), [&](const std::string& fetched) {
    return fetched == "." || path == fetched || path.starts_with(fetched + "/");
  });
}

std::vector<Need> uncovered_needs(const SourceTree& tree, const std::vector<std::string>& paths,
                                  BuildSystem system, const Interruption& interruption) {
  Search search(tree, paths);
  if (system == BuildSystem::go) search.follow_go();
  if (system == BuildSystem::cmake) search.follow_cmake(interruption);
  return search.take();
}

BuildSystem detect_system(const SourceTree& tree, const std::string& project) {
  if (tree.is_file(joined(project, "CMakeLists.txt"))) return BuildSystem::cmake;
  if (tree.is_file(joined(project, "go.mod"))) return BuildSystem::go;
  for (const char* name : {"GNUmakefile", "makefile", "Makefile"}) {
    if (tree.is_file(joined(project, name))) return BuildSystem::make;
  }
  throw Error("cannot compile " + project + ": it holds no CMakeLists.txt, go.mod or Makefile",
              "the first --path is the directory that is compiled; --build command takes a --build-command");
}

}  // namespace kms::builder
