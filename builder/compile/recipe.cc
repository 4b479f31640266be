#include "builder/compile/recipe.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace kms::builder {
namespace {

namespace fs = std::filesystem;

constexpr auto work_placeholder = "$WORK";

/// The first second that every archive format can hold; compilers take it for __DATE__ and __TIME__
/// (reproducible-builds.org, SOURCE_DATE_EPOCH).
constexpr auto source_date = "315532800";

/// Remote storages are left out: their URLs hold secrets.
constexpr std::array<const char*, 5> ccache_settings{"CCACHE_DISABLE", "CCACHE_MAXSIZE", "CCACHE_BASEDIR",
                                                     "CCACHE_NOHASHDIR", "CCACHE_DIR"};

constexpr std::array<const char*, 6> proxy_settings{"http_proxy", "https_proxy", "no_proxy",
                                                    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"};

template <std::size_t count>
void add_own(const std::array<const char*, count>& names, std::vector<std::string>& environment) {
  for (const char* name : names) {
    if (const char* value = std::getenv(name)) environment.push_back(std::string(name) + "=" + value);
  }
}

/// Quotes `path` for CMAKE_<LANG>_FLAGS or CFLAGS, which ninja or make and then a shell read. It must not
/// come first there: CMake removes quotes around a whole value.
std::string shell_word(const std::string& path) {
  std::string word = "'";
  for (const char c : path) word += c == '\'' ? std::string("'\\''") : c == '$' ? "$$" : std::string(1, c);
  return word + "'";
}

/// Paths in the binary read as in the repository, so that two builds of one input are equal.
std::string prefix_map(const std::string& work_root) { return "-ffile-prefix-map=" + work_root + "/="; }

std::vector<std::string> joined(std::vector<std::string> words, const std::vector<std::string>& more) {
  std::ranges::copy(more, std::back_inserter(words));
  return words;
}

std::vector<std::string> cmake_options(const Recipe& recipe, const Toolchain& tools,
                                       const std::string& work_root) {
  std::vector<std::string> options{
      "-G" + tools.generator, "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_COMPILER=" + tools.compiler,
      "-DCMAKE_CXX_FLAGS=" + prefix_map(work_root), "-DCMAKE_C_FLAGS=" + prefix_map(work_root)};
  for (const std::string& definition : recipe.definitions) options.push_back("-D" + definition);
  return joined(options, recipe.flags);
}

/// The build id would contain a digest of this machine's paths.
std::vector<std::string> go_options(const Recipe& recipe) {
  return joined({"-trimpath", "-buildvcs=false", "-ldflags=-buildid="}, recipe.flags);
}

std::vector<BuildStep> cmake_steps(const Recipe& recipe, const BuildDirs& dirs, const Toolchain& tools) {
  const std::vector<std::string> source_and_build{tools.driver, "-S",       dirs.project,
                                                  "-B",         dirs.build, "--no-warn-unused-cli"};
  return {{"configure", "configure " + project_name(dirs),
           joined(source_and_build, cmake_options(recipe, tools, shell_word(dirs.root.string())))},
          {"compile",
           "compile " + recipe.target,
           {tools.driver, "--build", dirs.build, "--parallel", std::to_string(tools.jobs), "--target",
            recipe.target}}};
}

std::string text_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// The go.work that go uses: the nearest one in the checkout, from the project upwards; "" if there is none.
fs::path workspace_of(const Recipe& recipe, const BuildDirs& dirs) {
  if (std::ranges::find(recipe.environment, "GOWORK=off") != recipe.environment.end()) return "";
  for (fs::path directory = dirs.project;; directory = directory.parent_path()) {
    if (fs::is_regular_file(directory / "go.work")) return directory / "go.work";
    if (directory == dirs.source || !directory.has_relative_path()) return "";
  }
}

/// True if `go work vendor` wrote modules.txt, which its first line says. go ignores a vendor/ of the other
/// kind (modulesTextIsForWorkspace in cmd/go/internal/modload/init.go).
bool made_for_workspace(std::string_view modules) {
  const std::string_view line = modules.substr(0, modules.find('\n'));
  return line.starts_with("## ") && line.find("workspace") != std::string_view::npos;
}

/// True if this go compiles vendored workspaces. Older ones take the only module of a workspace as one
/// without it (https://go.dev/doc/go1.22#go-command).
bool vendors_workspaces(const Toolchain& tools) {
  constexpr std::string_view before = "go version go";
  const std::size_t at = tools.compiler_version.find(before);
  return at == std::string::npos ||
         go_minor_version("go " + tools.compiler_version.substr(at + before.size())) >= 22;
}

/// True if go compiles the modules in vendor/: since Go 1.14 those of a module, since 1.22 those of a
/// workspace (https://go.dev/ref/mod#vendoring).
bool is_vendored(const fs::path& workspace, const BuildDirs& dirs, const Toolchain& tools) {
  const bool by_workspace = !workspace.empty() && vendors_workspaces(tools);
  if (!workspace.empty() && !by_workspace && text_of(workspace).find('(') != std::string::npos)
    return false;  // a block: several modules
  const fs::path file = by_workspace ? workspace : dirs.project / "go.mod";
  const fs::path modules = file.parent_path() / "vendor" / "modules.txt";
  return fs::is_regular_file(modules) && made_for_workspace(text_of(modules)) == by_workspace &&
         go_minor_version(text_of(file)) >= (by_workspace ? 22 : 14);
}

/// vendor/ holds all modules: a download could only put others in their place.
bool downloads(const Recipe& recipe, const BuildDirs& dirs, const Toolchain& tools) {
  return recipe.download_modules && !is_vendored(workspace_of(recipe, dirs), dirs, tools);
}

std::vector<BuildStep> go_steps(const Recipe& recipe, const BuildDirs& dirs, const Toolchain& tools) {
  std::vector<BuildStep> steps;
  if (downloads(recipe, dirs, tools))
    steps.push_back({"modules",
                     "download the modules of " + project_name(dirs),
                     {tools.driver, "mod", "download"},
                     true});
  std::vector<std::string> words{tools.driver, "build", "-o", dirs.build / "bin" / recipe.target};
  steps.push_back({"compile", "compile " + recipe.target, joined(joined(words, go_options(recipe)), {"."})});
  return steps;
}

std::vector<std::string> go_environment(const Recipe& recipe, const BuildDirs& dirs, const Toolchain& tools) {
  const fs::path workspace = workspace_of(recipe, dirs);
  std::vector<std::string> result{"GOCACHE=" + (dirs.build / "go-cache").string(),
                                  "GOPATH=" + (dirs.build / "go").string(), "GOENV=off", "GOTOOLCHAIN=local",
                                  "CGO_ENABLED=0"};
  // Names the workspace: go would also find one above the checkout.
  result.push_back("GOWORK=" + (workspace.empty() ? "off" : workspace.string()));
  if (!downloads(recipe, dirs, tools)) result = joined(result, {"GOPROXY=off", "GOSUMDB=off"});
  // -mod=mod lets go complete go.sum. go refuses it in a workspace, and would ignore vendor/.
  // -modcacherw lets the work area be removed.
  const bool plain = !workspace.empty() || is_vendored(workspace, dirs, tools);
  result.emplace_back(plain ? "GOFLAGS=-modcacherw" : "GOFLAGS=-mod=mod -modcacherw");
  return result;
}

std::vector<std::string> compiler_environment(const BuildDirs& dirs, const Toolchain& tools) {
  std::vector<std::string> result;
  const std::string map = "-O2 " + prefix_map(shell_word(dirs.root.string()));
  for (const char* name : {"CFLAGS=", "CXXFLAGS="}) result.push_back(name + map);
  if (!tools.compiler.empty()) result.push_back("CXX=" + tools.compiler);
  return result;
}

}  // namespace

std::vector<BuildStep> build_steps(const Recipe& recipe, const BuildDirs& dirs, const Toolchain& tools) {
  const std::string what = "compile " + recipe.target;
  switch (recipe.system) {
    case BuildSystem::go:
      return go_steps(recipe, dirs, tools);
    case BuildSystem::make:
      return {{"compile", what,
               joined({tools.driver, "--jobs=" + std::to_string(tools.jobs), recipe.target}, recipe.flags)}};
    case BuildSystem::command:
      return {{"compile", what, {tools.driver, "-c", recipe.command}}};
    case BuildSystem::automatic:
    case BuildSystem::cmake:
      break;
  }
  return cmake_steps(recipe, dirs, tools);
}

std::vector<std::string> build_environment(const Recipe& recipe, const BuildDirs& dirs,
                                           const Toolchain& tools, bool network) {
  const char* path = std::getenv("PATH");
  std::vector<std::string> result{"PATH=" + std::string(path == nullptr ? "/usr/bin:/bin" : path),
                                  "HOME=" + (dirs.build / "home").string(),
                                  "TMPDIR=" + (dirs.build / "tmp").string(),
                                  "OUTPUT=" + (dirs.build / "bin" / recipe.target).string(),
                                  "LC_ALL=C.UTF-8",  // tool_output.h searches for English messages
                                  "TZ=UTC",
                                  "SOURCE_DATE_EPOCH=" + std::string(source_date)};
  add_own(ccache_settings, result);
  if (network) add_own(proxy_settings, result);
  if (recipe.system == BuildSystem::go) result = joined(result, go_environment(recipe, dirs, tools));
  if (recipe.system == BuildSystem::make || recipe.system == BuildSystem::command)
    result = joined(result, compiler_environment(dirs, tools));
  for (const std::string& entry : recipe.environment) {
    const std::string name = entry.substr(0, entry.find('=') + 1);
    std::erase_if(result, [&](const std::string& other) { return other.starts_with(name); });
    result.push_back(entry);
  }
  return result;
}

std::vector<std::string> recorded_flags(const Recipe& recipe, const Toolchain& tools) {
  std::vector<std::string> result;
  if (recipe.system == BuildSystem::cmake) result = cmake_options(recipe, tools, work_placeholder);
  if (recipe.system == BuildSystem::go) result = go_options(recipe);
  if (recipe.system == BuildSystem::make) result = recipe.flags;
  if (recipe.system == BuildSystem::command) result = {recipe.command};
  return joined(result, recipe.environment);
}

std::vector<fs::path> executable_places(const Recipe& recipe, const BuildDirs& dirs) {
  const fs::path bin = fs::path("bin") / recipe.target;
  if (recipe.system == BuildSystem::cmake || recipe.system == BuildSystem::go)
    return {dirs.build / bin, dirs.build / recipe.target};
  return {dirs.build / bin, dirs.project / bin, dirs.project / recipe.target};
}

Outcome<> check_names(const Recipe& recipe, const BuildDirs& dirs) {
  const std::string_view refused = recipe.system == BuildSystem::cmake ? ";\"\\|\n"
                                   : recipe.system == BuildSystem::go  ? ":\n"
                                                                       : "\n";
  const std::string path = dirs.project.string();
  const std::size_t at = path.find_first_of(refused);
  if (at == std::string::npos) return {};
  return Error("cannot compile in " + path + ": " + name_of(recipe.system) + " cannot work in a path with '" +
                   path.substr(at, 1) + "'",
               "give another --build-dir");
}

unsigned go_minor_version(std::string_view text) {
  constexpr unsigned assumed = 16;
  constexpr std::string_view directive = "go 1.";
  while (!text.empty() && !text.starts_with(directive))
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  if (text.empty()) return assumed;
  unsigned minor = assumed;
  std::from_chars(text.data() + directive.size(), text.data() + text.size(), minor);
  return minor;
}

bool ignores_vendor_for_workspace(const Recipe& recipe, const BuildDirs& dirs, const Toolchain& tools) {
  const fs::path workspace = workspace_of(recipe, dirs);
  return recipe.system == BuildSystem::go && !workspace.empty() && !is_vendored(workspace, dirs, tools) &&
         is_vendored("", dirs, tools);
}

std::string project_name(const BuildDirs& dirs) {
  return dirs.project.lexically_relative(dirs.source).string();
}

}  // namespace kms::builder
