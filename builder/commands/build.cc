#include "builder/commands/build.h"

#include <algorithm>

#include "builder/cache/key.h"
#include "builder/git/source_path.h"
#include "builder/pipeline/work_area.h"
#include "common/build_info/build_info.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;

void add_place_options(CLI::App& command, BuildOptions& options) {
  command.add_option(
      "--build-dir", options.build_dir,
      "Directory for sources and objects while building (default: mock-kms-builder in $XDG_CACHE_HOME or "
      "~/.cache)");
  command
      .add_option("--output", options.output,
                  "Where the binary goes: a file, or a directory (that exists, or with a slash at its end)")
      ->capture_default_str();
  command.add_option(
      "--cache-dir", options.cache_dir,
      "Directory of published binaries, for any number of builders (default: cache in --build-dir)");
  command
      .add_option("--cache-max", options.cache_max,
                  "Bytes that the binaries in --cache-dir may have together; 0 for no cache")
      ->capture_default_str();
  command.add_flag("--force", options.force, "Compile though the binary is there or in the cache");
}

void add_recipe_options(CLI::App& command, BuildOptions& options) {
  command.add_option("--profile", options.profile, "Plugin that is meant where other options say nothing")
      ->check(CLI::IsMember({"embedded", "openshift"}))
      ->capture_default_str();
  command.add_option("--build", options.system, "Build system; auto goes by what the directory holds")
      ->check(CLI::IsMember({"auto", "cmake", "go", "make", "command"}))
      ->capture_default_str();
  command.add_option("--build-command", options.recipe.command,
                     "Shell command for --build command; it leaves the executable at $OUTPUT");
  command.add_option("--target", options.recipe.target, "Target to build, and its executable's name")
      ->default_str("mock-kms-provider");
  command.add_option("--define", options.recipe.definitions, "NAME=VALUE for CMake's cache, repeatable");
  command.add_option("--flag", options.recipe.flags, "Word for cmake, go build or make, repeatable");
  command.add_option("--env", options.recipe.environment,
                     "NAME=VALUE for the compiler's environment, repeatable; it is on record");
  command
      .add_option("--dependencies", options.closure,
                  "What is done about directories that the source needs beside --path: fetch, refuse or off")
      ->check(CLI::IsMember({"fetch", "refuse", "off"}))
      ->capture_default_str();
  command
      .add_option("--modules", options.modules,
                  "Go's modules: off, or download by a step that has the network and no compiler")
      ->check(CLI::IsMember({"off", "download"}))
      ->capture_default_str();
}

void add_isolation_options(CLI::App& command, BuildOptions& options) {
  command.add_option("--isolation", options.isolation, "Whether the compiler is isolated: on or off")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
  command.add_flag("--require-isolation", options.isolated.required,
                   "Compile nothing where the kernel or the container denies a part of it");
  command.add_option("--input", options.isolated.readable,
                     "Directory or file that the compiler may read besides the system's, repeatable");
  add_duration(command, "--build-timeout", options.timeout, "How long configuring and compiling may take",
               std::chrono::milliseconds(1));
  command.add_option("--max-memory", options.isolated.limits.memory, "Bytes that each process may have")
      ->capture_default_str();
  command.add_option("--max-processes", options.isolated.limits.processes, "Processes at once")
      ->capture_default_str();
  command.add_option("--max-file", options.isolated.limits.file_bytes, "Bytes of the longest file written")
      ->capture_default_str();
  add_duration(command, "--smoke-test-timeout", options.proof.timeout,
               "How long the binary's answer to --smoke-test may take", std::chrono::milliseconds(1));
  command.add_option("--smoke-test", options.proof.argument, "Argument that the binary has to answer to")
      ->capture_default_str();
}

void require_assignments(const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    if (word.find('=') == std::string::npos || word.front() == '=')
      throw Error("'" + word + "' is no NAME=VALUE");
  }
}

/// Options that were not given, neither as words nor as variables.
void take_from(const Profile& profile, const CLI::App& command, BuildOptions& options) {
  const auto given = [&](const char* name) { return command.get_option(name)->count() > 0; };
  if (!given("--repo")) options.source.repository = profile.repository;
  if (!given("--path")) options.source.paths = profile.paths;
  if (!given("--target")) options.recipe.target = profile.target;
  if (!given("--output")) options.output = options.recipe.target;
  if (!given("--smoke-test")) options.proof.argument = profile.proof;
  if (!given("--build")) options.system = name_of(profile.system);
  if (!given("--modules") && profile.download_modules) options.modules = "download";
  auto& environment = options.recipe.environment;
  environment.insert(environment.begin(), profile.environment.begin(), profile.environment.end());
}

/// Without links on the way: what is isolated sees the real one alone.
fs::path real_directory(const fs::path& path) {
  std::error_code error;
  fs::path absolute = fs::absolute(path).lexically_normal();
  fs::path real = fs::weakly_canonical(absolute, error);
  if (error) return absolute;
  return real.has_filename() ? real : real.parent_path();
}

fs::path read_output(const BuildOptions& options) {
  fs::path output = fs::absolute(options.output).lexically_normal();
  if (!output.has_filename() || fs::is_directory(output)) output /= options.recipe.target;
  if (output.filename() == build_info_name)
    throw Error("--output: " + output.string() + " is the place of the binary's record",
                "give the binary another name");
  return output;
}

/// `inputs` are absolute.
Recipe read_recipe(const BuildOptions& options, const std::vector<std::string>& inputs) {
  Recipe recipe = options.recipe;
  recipe.system = system_of(options.system).value_or(BuildSystem::automatic);
  recipe.download_modules = options.modules == "download";
  if (const auto why = why_bad_name(recipe.target)) throw Error("--target: " + *why);
  require_assignments(recipe.definitions);
  require_assignments(recipe.environment);
  recipe.inputs = stamp_of_inputs(inputs);
  if ((recipe.system == BuildSystem::command) != !recipe.command.empty())
    throw Error("--build command and --build-command need each other");
  return recipe;
}

IsolationRequest read_isolation(const BuildOptions& options) {
  IsolationRequest isolation = options.isolated;
  isolation.wanted = options.isolation == "on";
  if (isolation.required && !isolation.wanted)
    throw Error("--require-isolation: --isolation off contradicts it");
  isolation.limits.cpu_seconds =
      static_cast<std::uint64_t>(std::chrono::ceil<std::chrono::seconds>(options.timeout).count());
  for (std::string& path : isolation.readable) path = fs::absolute(path).lexically_normal().string();
  return isolation;
}

}  // namespace

void add_build_options(CLI::App& command, BuildOptions& options) {
  options.source.paths = profiles().front().paths;
  add_source_options(command, options.source,
                     "Directory or file to fetch, repeatable; the first one is compiled");
  add_place_options(command, options);
  add_recipe_options(command, options);
  add_isolation_options(command, options);
  add_report_options(command, options.report);
}

const Profile& chosen_profile(const BuildOptions& options) {
  return *std::find_if(profiles().begin(), profiles().end(),
                       [&](const Profile& profile) { return profile.name == options.profile; });
}

BuildRequest read_build_options(const CLI::App& command, BuildOptions options) {
  take_from(chosen_profile(options), command, options);
  const fs::path build_dir = options.build_dir.empty() ? default_build_dir() : fs::path(options.build_dir);
  if (build_dir.empty())
    throw Error("neither XDG_CACHE_HOME nor HOME names a directory to build in", "give --build-dir");
  const IsolationRequest isolation = read_isolation(options);
  BuildRequest request{.source = read_source_options(options.source),
                       .recipe = read_recipe(options, isolation.readable),
                       .closure = options.closure == "fetch"    ? Closure::fetch
                                  : options.closure == "refuse" ? Closure::refuse
                                                                : Closure::off,
                       .build_dir = real_directory(build_dir),
                       .output = read_output(options),
                       .cache_dir = options.cache_dir,
                       .cache_max = options.cache_max,
                       .isolation = isolation,
                       .timeout = options.timeout,
                       .proof = options.proof,
                       .force = options.force};
  if (request.cache_dir.empty()) request.cache_dir = request.build_dir / "cache";
  request.cache_dir = fs::absolute(request.cache_dir).lexically_normal();
  return request;
}

}  // namespace kms::builder
