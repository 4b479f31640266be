#include "builder/dependencies/resolve.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <iterator>
#include <set>
#include <tuple>

#include "builder/compile/recipe.h"
#include "builder/dependencies/cmake.h"
#include "builder/dependencies/go.h"
#include "builder/git/source_path.h"
#include "builder/source/fetch.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;

// A hostile source could name others without end.
constexpr std::size_t max_files = 50'000;  ///< of CMake, counted once for each directory that includes them
constexpr std::uint64_t max_text_bytes = 100'000'000;  ///< of their text
constexpr std::size_t max_paths = 500;
constexpr std::size_t max_named = 50;  ///< in one message

std::string parent(const std::string& path) {
  const std::string directory = fs::path(path).parent_path().string();
  return directory.empty() ? "." : directory;
}

bool leads_out(const std::string& path) { return path == ".." || path.starts_with("../"); }

/// True if `path` is one of `paths` or below one.
bool is_covered(const std::string& path, const std::vector<std::string>& paths) {
  return std::any_of(paths.begin(), paths.end(), [&](const std::string& fetched) {
    return fetched == "." || path == fetched || path.starts_with(fetched + "/");
  });
}

class Search {
 public:
  Search(const SourceTree& tree, const std::vector<std::string>& paths) : tree_(tree), paths_(paths) {}

  /// Go reads only the `replace` lines of the main module and of a workspace's modules.
  void follow_go() {
    const std::string& project = paths_.front();
    std::vector<std::string> modules{project};
    for (std::string directory = project;; directory = parent(directory)) {
      const std::string work = joined_path(directory, "go.work");
      if (const auto text = is_covered(work, paths_) ? tree_.read(work) : std::nullopt) {
        const GoDirectories directories = go_directories(*text);
        for (const std::string& module : directories.modules) {
          add(work, "use " + module, joined_path(directory, module), true);
          modules.push_back(joined_path(directory, module));
        }
        for (const std::string& target : directories.replacements)
          add(work, "replace ... => " + target, joined_path(directory, target), true);
        const std::string vendor = joined_path(directory, "vendor");
        if (go_minor_version(*text) >= 22 && tree_.has(vendor)) add(work, "vendor", vendor, false);
        break;  // the nearest one counts
      }
      if (directory == ".") break;
    }
    for (const std::string& module : modules) {
      const std::string file = joined_path(module, "go.mod");
      const auto text = tree_.read(file);
      if (!text) continue;
      // Without a workspace go compiles what is in vendor/, and reads no replacement.
      const bool vendored = modules.size() == 1 && go_minor_version(*text) >= 14 &&
                            tree_.has(joined_path(module, "vendor/modules.txt"));
      for (const std::string& target : go_directories(*text).replacements)
        add(file, "replace ... => " + target, joined_path(module, target), !vendored, vendored);
    }
  }

  /// Follows the files by a list, not by recursion: a hostile chain may be long.
  void follow_cmake(const Interruption& interruption) {
    enter_directory(paths_.front());
    while (!open_.empty()) {
      interruption.check();
      const CMakeFile next = std::move(open_.front());
      open_.pop_front();
      read(next);
    }
  }

  std::vector<Dependency> take() { return std::move(missing_); }

 private:
  struct CMakeFile {
    std::string file;
    std::string current;  ///< CMAKE_CURRENT_SOURCE_DIR; an included file has that of its includer
    bool operator<(const CMakeFile& other) const {
      return std::tie(file, current) < std::tie(other.file, other.current);
    }
  };

  void enter_directory(const std::string& directory) {
    enter({joined_path(directory, "CMakeLists.txt"), directory});
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
    if (bytes_ > max_text_bytes) give_up();
    for (const CMakeReference& reference :
         cmake_references(*text, {paths_.front(), at.current, parent(at.file)})) {
      const bool directory = reference.kind == CMakeReference::Kind::directory;
      add(at.file, (directory ? "add_subdirectory(" : "include(") + reference.path + ")", reference.path,
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

  void add(const std::string& file, const std::string& words, const std::string& path, bool certain,
           bool optional = false) {
    if (leads_out(path)) {
      // In CMake it may stand behind a condition.
      if (certain)
        throw Error("cannot compile " + paths_.front() + ": " + file + " says '" + words +
                        "', which leads out of the repository",
                    "give another --ref, or --dependencies off");
      return;
    }
    if (is_covered(path, paths_) || !seen_.insert(path).second) return;
    missing_.push_back({path, file + " says " + words, optional});
  }

  const SourceTree& tree_;
  const std::vector<std::string>& paths_;
  std::deque<CMakeFile> open_;
  std::set<CMakeFile> visited_;
  std::uint64_t bytes_ = 0;  ///< of CMake's text so far
  std::set<std::string> seen_;
  std::vector<Dependency> missing_;
};

[[noreturn]] void refuse(const std::vector<Dependency>& missing) {
  std::string list;
  for (std::size_t i = 0; i < std::min(missing.size(), max_named); ++i)
    list += (list.empty() ? "" : ", ") + missing[i].path + " (" + missing[i].reason + ")";
  if (missing.size() > max_named) list += " and " + std::to_string(missing.size() - max_named) + " more";
  throw Error("cannot compile without " + list, "give these by --path too, or --dependencies fetch");
}

/// Adds the dependencies that the commit holds to `paths`, the others to `absent`.
void sort(const std::vector<Dependency>& missing, const SourceTree& tree, std::vector<std::string>& paths,
          std::vector<std::string>& absent) {
  for (const Dependency& dependency : missing) {
    const bool there = tree.has(dependency.path);
    (there ? paths : absent).push_back(dependency.path);
    log::info(there ? "fetched what the source needs" : "the source names what the commit does not hold",
              {{"path", dependency.path}, {"why", dependency.reason}});
  }
}

}  // namespace

void fetch_dependencies(const DependencyRequest& request, Fetched& fetched, const Interruption& interruption,
                        Progress& progress) {
  std::vector<std::string> absent;
  while (true) {
    std::vector<Dependency> missing = missing_dependencies(SourceTree(fetched.objects.get(), fetched.commit),
                                                           request.paths, request.system, interruption);
    std::erase_if(missing, [&](const Dependency& found) { return is_covered(found.path, absent); });
    if (missing.empty()) return;
    if (request.mode == Dependencies::refuse) {
      std::erase_if(missing, [](const Dependency& found) { return found.optional; });
      if (missing.empty()) return;
      refuse(missing);
    }
    if (request.paths.size() + missing.size() > max_paths)
      throw Error("cannot fetch what the source needs: it names too many directories",
                  "give --dependencies off");
    std::vector<std::string> paths;
    std::ranges::transform(missing, std::back_inserter(paths), &Dependency::path);
    fetch_more(request.source, paths, fetched, interruption, progress);
    sort(missing, SourceTree(fetched.objects.get(), fetched.commit), request.paths, absent);
  }
}

std::vector<Dependency> missing_dependencies(const SourceTree& tree, const std::vector<std::string>& paths,
                                             BuildSystem system, const Interruption& interruption) {
  Search search(tree, paths);
  if (system == BuildSystem::go) search.follow_go();
  if (system == BuildSystem::cmake) search.follow_cmake(interruption);
  return search.take();
}

BuildSystem detect_system(const SourceTree& tree, const std::string& project) {
  if (tree.is_file(joined_path(project, "CMakeLists.txt"))) return BuildSystem::cmake;
  if (tree.is_file(joined_path(project, "go.mod"))) return BuildSystem::go;
  for (const char* name : {"GNUmakefile", "makefile", "Makefile"}) {
    if (tree.is_file(joined_path(project, name))) return BuildSystem::make;
  }
  if (const auto target = tree.link_target(project))
    throw Error("cannot compile " + project + ": it is a link to " + joined_path(parent(project), *target),
                "give the link's target by --path");
  throw Error("cannot compile " + project + ": it holds no CMakeLists.txt, go.mod or Makefile",
              "the first --path is the directory that is compiled; --build command takes a --build-command");
}

}  // namespace kms::builder
