// builder build: fetches directories of a git repository, compiles and publishes them.
#include "builder/pipeline/build.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "builder/cache/key.h"
#include "builder/commands/commands.h"
#include "builder/commands/profile.h"
#include "builder/commands/report.h"
#include "builder/commands/source_options.h"
#include "builder/git/source_path.h"
#include "builder/pipeline/work_area.h"
#include "common/build_info/build_info.h"
#include "common/text/escape.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;

/// The values of the options.
struct BuildOptions {
  SourceOptions source;
  ReportOptions report;
  OutputFormat format = OutputFormat::text;
  const Profile* profile = &profiles().front();
  std::string build_dir;
  std::string cache_dir;
  std::string output = "mock-kms-provider";
  Recipe recipe;
  Dependencies dependencies = Dependencies::fetch;
  IsolationRequest isolation{true, false, {}, {0, 4'000'000'000, 1000, 2'000'000'000}};
  SmokeTest smoke_test;
  Duration timeout = std::chrono::minutes(30);
  std::uint64_t cache_max = 1'000'000'000;
  bool force = false;
};

void add_output_options(CLI::App& command, BuildOptions& options) {
  command.add_option(
      "--build-dir", options.build_dir,
      "Directory for sources and objects during the build (default: mock-kms-builder in $XDG_CACHE_HOME or "
      "~/.cache)");
  command
      .add_option("--output", options.output,
                  "File for the binary, or a directory (one that exists, or with a slash at its end)")
      ->capture_default_str();
  command.add_option(
      "--cache-dir", options.cache_dir,
      "Directory for published binaries, shared by any number of builders (default: cache in --build-dir)");
  command
      .add_option("--cache-max", options.cache_max,
                  "Size limit of all binaries in --cache-dir, in bytes; 0 for no cache")
      ->capture_default_str();
  command.add_flag("--force", options.force, "Compile even if the binary is up to date or in the cache");
}

void add_recipe_options(CLI::App& command, BuildOptions& options) {
  std::vector<std::pair<std::string, const Profile*>> plugins;
  for (const Profile& profile : profiles()) plugins.emplace_back(profile.name, &profile);
  add_choice(command, "--profile", options.profile, "Plugin that gives the defaults of other options",
             plugins);
  add_choice<BuildSystem>(command, "--build", options.recipe.system,
                          "Build system; auto chooses by the files of the directory",
                          {{"auto", BuildSystem::automatic},
                           {"cmake", BuildSystem::cmake},
                           {"go", BuildSystem::go},
                           {"make", BuildSystem::make},
                           {"command", BuildSystem::command}});
  command.add_option("--build-command", options.recipe.command,
                     "Shell command for --build command; it writes the executable to $OUTPUT");
  command.add_option("--target", options.recipe.target, "Target to build, and its executable's name")
      ->default_str("mock-kms-provider");
  command.add_option("--define", options.recipe.definitions, "NAME=VALUE for CMake's cache, repeatable");
  command.add_option("--flag", options.recipe.flags, "Argument for cmake, go build or make, repeatable");
  command.add_option("--env", options.recipe.environment,
                     "NAME=VALUE for the compiler's environment, repeatable; build-info.json shows it");
  add_choice<Dependencies>(
      command, "--dependencies", options.dependencies,
      "Action if the source needs directories besides --path; off leaves them to the compiler",
      {{"fetch", Dependencies::fetch}, {"refuse", Dependencies::refuse}, {"off", Dependencies::off}});
  add_choice<bool>(command, "--modules", options.recipe.download_modules,
                   "Download Go's modules, in a step that has the network and no compiler",
                   {{"off", false}, {"download", true}});
}

void add_isolation_options(CLI::App& command, BuildOptions& options) {
  add_choice<bool>(command, "--isolation", options.isolation.wanted,
                   "Sandbox for the compiler and the smoke test", {{"on", true}, {"off", false}});
  command.add_flag("--require-isolation", options.isolation.required,
                   "Fail if the kernel or the container denies a part of the sandbox");
  command.add_option("--input", options.isolation.readable,
                     "Directory or file that the compiler may read besides the system's, repeatable");
  add_duration(command, "--build-timeout", options.timeout, "Time limit for configure and compile together",
               std::chrono::milliseconds(1));
  ProcessLimits& limits = options.isolation.limits;
  command.add_option("--max-memory", limits.memory, "Memory limit of each process, in bytes")
      ->capture_default_str();
  command.add_option("--max-processes", limits.processes, "Number of processes at once")
      ->capture_default_str();
  command.add_option("--max-file", limits.file_bytes, "Size limit of each file that is written, in bytes")
      ->capture_default_str();
  add_duration(command, "--smoke-test-timeout", options.smoke_test.timeout, "Time limit of the smoke test",
               std::chrono::milliseconds(1));
  command
      .add_option("--smoke-test", options.smoke_test.argument,
                  "Argument that the binary must accept with exit code 0")
      ->capture_default_str();
}

/// `example` is a good value of the option.
void require_assignments(const std::string& option, const std::vector<std::string>& words,
                         const std::string& example) {
  for (const std::string& word : words) {
    if (word.find('=') == std::string::npos || word.front() == '=')
      throw Error(option + ": " + in_quotes(word) + " is not NAME=VALUE", "write it as " + example);
  }
}

/// Fills the options that were given neither as arguments nor as variables.
void apply(const Profile& profile, const CLI::App& command, BuildOptions& options) {
  const auto given = [&](const char* name) { return command.get_option(name)->count() > 0; };
  if (!given("--repo")) options.source.repository = profile.repository;
  if (!given("--path")) options.source.paths = profile.paths;
  if (!given("--target")) options.recipe.target = profile.target;
  if (!given("--output")) options.output = options.recipe.target;
  if (!given("--smoke-test")) options.smoke_test.argument = profile.smoke_test;
  if (!given("--build")) options.recipe.system = profile.system;
  if (!given("--modules")) options.recipe.download_modules = profile.download_modules;
  auto& environment = options.recipe.environment;
  environment.insert(environment.begin(), profile.environment.begin(), profile.environment.end());
}

/// Resolves links: isolated code sees the real directory alone.
fs::path real_directory(const fs::path& path) {
  std::error_code error;
  fs::path absolute = fs::absolute(path).lexically_normal();
  fs::path real = fs::weakly_canonical(absolute, error);
  if (error) return absolute;
  return real.has_filename() ? real : real.parent_path();
}

fs::path read_output(const BuildOptions& options) {
  std::error_code none;
  fs::path output = absolute_path("--output", options.output);
  if (!output.has_filename() || fs::is_directory(output, none)) output /= options.recipe.target;
  if (output.filename() == build_info_name)
    throw Error("--output: " + output.string() + " is reserved for the record of the binary",
                "give the binary another name");
  return output;
}

/// `inputs` are absolute.
Recipe read_recipe(const BuildOptions& options, const std::vector<std::string>& inputs) {
  Recipe recipe = options.recipe;
  if (const auto why = why_bad_name(recipe.target))
    throw Error("--target: " + *why, "give the name of the executable, such as 'mock-kms-provider'");
  require_assignments("--define", recipe.definitions, "CMAKE_BUILD_TYPE=Debug");
  require_assignments("--env", recipe.environment, "CFLAGS=-O1, or as CFLAGS= for an empty value");
  recipe.inputs = stamp_of_inputs(inputs);
  if ((recipe.system == BuildSystem::command) != !recipe.command.empty())
    throw Error("--build command and --build-command need each other",
                "give both, such as --build command --build-command 'cc -o \"$OUTPUT\" main.c', or neither");
  return recipe;
}

IsolationRequest read_isolation(const BuildOptions& options) {
  IsolationRequest isolation = options.isolation;
  if (isolation.required && !isolation.wanted)
    throw Error("--require-isolation contradicts --isolation off", "leave one of them out");
  isolation.limits.cpu_seconds =
      static_cast<std::uint64_t>(std::chrono::ceil<std::chrono::seconds>(options.timeout).count());
  for (std::string& path : isolation.readable) path = absolute_path("--input", path).string();
  return isolation;
}

BuildRequest read_request(const CLI::App& command, BuildOptions options) {
  apply(*options.profile, command, options);
  const fs::path build_dir = options.build_dir.empty() ? default_build_dir() : fs::path(options.build_dir);
  if (build_dir.empty())
    throw Error("neither XDG_CACHE_HOME nor HOME names a directory to build in", "give --build-dir");
  const IsolationRequest isolation = read_isolation(options);
  BuildRequest request{.source = read_source_options(options.source),
                       .recipe = read_recipe(options, isolation.readable),
                       .dependencies = options.dependencies,
                       .build_dir = real_directory(build_dir),
                       .output = read_output(options),
                       .cache_dir = options.cache_dir,
                       .cache_max = options.cache_max,
                       .isolation = isolation,
                       .timeout = options.timeout,
                       .smoke_test = options.smoke_test,
                       .force = options.force};
  if (request.cache_dir.empty()) request.cache_dir = request.build_dir / "cache";
  request.cache_dir = fs::absolute(request.cache_dir).lexically_normal();
  return request;
}

const char* headline(BuildResult::Kind kind) {
  switch (kind) {
    case BuildResult::Kind::compiled:
      return "Published:";
    case BuildResult::Kind::from_cache:
      return "From the cache:";
    case BuildResult::Kind::up_to_date:
      return "Up to date:";
  }
  return "";
}

/// False if the parent closed it: start_in_known_state() put something unwritable in its place.
bool is_stdout_open() { return (::fcntl(STDOUT_FILENO, F_GETFL) & O_ACCMODE) != O_RDONLY; }

/// The text tells a reader about the binary. Without a reader the build is as good.
void print(const BuildResult& result, OutputFormat format) {
  if (format == OutputFormat::text && !is_stdout_open()) return;
  const auto& info = result.info;
  if (format == OutputFormat::json) {
    std::fputs(build_info_json(info).c_str(), stdout);
  } else {
    std::printf("%s %s\n  %s (%s)\n  commit %s of %s (%s)\n  sha256 %s\n", headline(result.kind),
                info.binary().path().c_str(), visible_text(utf8_text(info.binary().version())).c_str(),
                human_bytes(info.binary().size()).c_str(), info.commit().c_str(), info.repository().c_str(),
                info.ref().c_str(), info.binary().sha256().c_str());
  }
  finish_output("the binary and build-info.json are in place; check where stdout goes");
}

int run(const CLI::App& command, const BuildOptions& options) {
  const BuildRequest request = or_usage_error([&] { return read_request(command, options); });
  return run_reported(options.report, [&](const Interruption& interruption, Progress& progress) {
    const BuildResult result = build(request, interruption, progress);
    write_companion(*options.profile, request.output.parent_path());
    print(result, options.format);
  });
}

}  // namespace

Command build_command(CommandLine& line) {
  const auto options = std::make_shared<BuildOptions>();
  CLI::App& command = line.add_subcommand(
      "build", "Fetch directories of a git repository, compile and publish them (the default)",
      {"builder build --output /plugin/mock-kms-provider",
       "builder build --repo https://git.example.org/plugin.git --ref v1.2.0 -o json",
       "builder build --profile openshift --output /plugin/"});
  options->source.paths = profiles().front().paths;
  add_source_options(command, options->source,
                     "Directory or file to fetch, repeatable; the first one is compiled");
  add_output_options(command, *options);
  add_recipe_options(command, *options);
  add_isolation_options(command, *options);
  add_report_options(command, options->report);
  add_format(command, options->format);
  return {&command, [&command, options] { return run(command, *options); }, true};
}

}  // namespace kms::builder
