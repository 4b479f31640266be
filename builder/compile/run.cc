#include "builder/compile/run.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <initializer_list>

#include "builder/compile/tool_output.h"
#include "builder/publish/new_file.h"
#include "common/io/fd.h"
#include "common/log/log.h"
#include "common/process/run.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t shown_lines = 200;
constexpr auto target_hint = "give the name of an executable's target by --target";

bool mentions_any(const CompilerOutput& output, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return output.mentions(word); });
}

/// The next step if a limit of the builder's own, or a kill, ended the step; "" if it was neither.
std::string limit_hint(const CompilerOutput& output, const process::ExitStatus& status) {
  const auto ended_by = [&](int signal) {  // a shell exits with 128 + N if its command was killed
    return status.value() == (status.signaled() ? signal : 128 + signal);
  };
  if (ended_by(SIGXFSZ) ||
      mentions_any(output, {"File size limit exceeded", "File too large", "file too large"}))
    return "the build wrote a longer file than --max-file allows: raise it";
  if (ended_by(SIGXCPU) || mentions_any(output, {"CPU time limit exceeded"}))
    return "the build used more processor time than --build-timeout allows: raise it";
  if (mentions_any(output, {"Cannot fork", "cannot fork", "vfork: ", "fork: ", "pthread_create failed",
                            "esource temporarily unavailable"}))
    return "the build started more processes than --max-processes or the container allows: raise the limit";
  if (ended_by(SIGKILL) ||
      mentions_any(
          output, {"Killed signal", "signal terminated program", "signal: killed", "virtual memory exhausted",
                   "Cannot allocate memory", "cannot allocate memory", "std::bad_alloc"}))
    return "the compiler had too little memory: give it more, or raise --max-memory";
  return "";
}

/// The next step if go lacks a module; "" if it lacks none.
std::string module_hint(const CompilerOutput& output, const BuildStep& step, const StepContext& context) {
  const bool refused = output.mentions("module lookup disabled by GOPROXY=off");
  if ((refused || step.phase == "modules") &&
      ignores_vendor_for_workspace(context.recipe, context.dirs, context.tools))
    return "go ignores vendor/, because it is not that of go.work: run 'go work vendor', or give --env "
           "GOWORK=off";
  return refused ? "give --modules download, or the modules' directory by --input and --env GOMODCACHE=..."
                 : "";
}

std::string hint_for(const CompilerOutput& output, const BuildStep& step, const StepContext& context,
                     const process::ExitStatus& status) {
  const std::string& target = context.recipe.target;
  if (output.mentions("unknown target '" + target + "'") ||  // ninja, make
      output.mentions("No rule to make target '" + target + "'.  Stop"))
    return target_hint;
  if (output.mentions("No space left on device"))
    return "free some space, or give --build-dir on a larger disk";
  if (const std::string hint = limit_hint(output, status); !hint.empty()) return hint;
  if (!context.unfetched_link.empty())
    return context.unfetched_link + ", which was not fetched: give it by --path too";
  if (const std::string hint = module_hint(output, step, context); !hint.empty()) return hint;
  if (step.phase == "modules" &&
      mentions_any(output, {"dial tcp", "proxyconnect", "i/o timeout", "TLS handshake"}))
    return "check the network, and the module proxy: name another one by --env GOPROXY=URL";
  if (output.mentions("go: inconsistent vendoring"))
    return "run `go mod vendor` in the source and commit vendor/, or give another --ref";
  if (mentions_any(output, {"(find_package)", "cannot find "}))
    return "install the -dev package of what is missing";
  return "the lines above are the tool's own; fix the source, or give another --ref";
}

/// Opens a plain file below `root` without following any link; empty if there is none.
UniqueFd open_beneath(const fs::path& root, const fs::path& file) {
  UniqueFd directory(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const fs::path relative = file.lexically_relative(root);
  for (const fs::path& name : relative.parent_path()) {
    directory.reset(::openat(directory.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!directory) return {};
  }
  UniqueFd found(::openat(directory.get(), relative.filename().c_str(),
                          O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat status {};
  if (!found || ::fstat(found.get(), &status) < 0 || !S_ISREG(status.st_mode)) return {};
  return found;
}

std::vector<std::string> environment(const BuildStep& step, const StepContext& context) {
  std::vector<std::string> result =
      build_environment(context.recipe, context.dirs, context.tools, step.network);
  std::erase_if(result, [](const std::string& entry) { return entry.starts_with("CCACHE_DIR="); });
  if (!context.ccache_directory.empty()) result.push_back("CCACHE_DIR=" + context.ccache_directory);
  return result;
}

bool is_noexec(const fs::path& file) {
  struct statvfs status {};
  return ::statvfs(file.c_str(), &status) == 0 && (status.f_flag & ST_NOEXEC) != 0;
}

/// Calls `on_step` as the step makes progress.
void run_step(const BuildStep& step, const StepContext& context, const Interruption& interruption,
              const std::function<void(Step)>& on_step) {
  CompilerOutput output(context.dirs.source.string(), project_name(context.dirs));
  const process::Launch launch{context.isolation.command(step.command, step.network),
                               environment(step, context),
                               {-1, -1, -1, context.dirs.lock_fd},
                               context.dirs.project,
                               true};
  process::RunLimits limits;
  limits.deadline = std::max(Duration::zero(), Duration(context.deadline - std::chrono::steady_clock::now()));
  limits.stop_fd = interruption.fd();
  const process::RunEnd end = process::run(launch, limits, [&](std::string_view line) {
    log::debug(line);
    if (const auto done = output.add(line)) on_step(*done);
  });
  interruption.check();
  const auto* status = std::get_if<process::ExitStatus>(&end);
  if (status == nullptr) {
    throw CompileError({"cannot " + step.description + ": it did not end within the time for the whole build",
                        "raise --build-timeout, or find out what hangs"},
                       output.failure_lines(shown_lines));
  }
  if (status->success()) return;
  const std::string quoted = output.first_error();
  const std::string tool = fs::path(step.command.front()).filename().string();
  throw CompileError(
      {"cannot " + step.description + ": " + (quoted.empty() ? tool + " " + status->text() : quoted),
       hint_for(output, step, context, *status)},
      output.failure_lines(shown_lines));
}

}  // namespace

void run_steps(const StepContext& context, Phases& phases, const Interruption& interruption,
               Progress& progress) {
  for (const BuildStep& step : build_steps(context.recipe, context.dirs, context.tools)) {
    if (step.phase == "compile") {
      log::info("compiling", {{"compiler", context.tools.compiler_version},
                              {"by", name_of(context.recipe.system)},
                              {"jobs", context.tools.jobs}});
    }
    phases.run(step.phase, [&] {
      run_step(step, context, interruption,
               [&](Step done) { progress.update(step.phase, done.done, done.total, ""); });
    });
  }
}

void take_executable(const Recipe& recipe, const BuildDirs& dirs, const fs::path& target) {
  std::string tried;
  for (const fs::path& candidate : executable_places(recipe, dirs)) {
    tried += (tried.empty() ? "" : ", nor ") + candidate.lexically_relative(dirs.root).string();
    if (const UniqueFd source = open_beneath(dirs.root, candidate)) {
      copy_to_new_file(source.get(), target, "--build-dir");
      return;
    }
  }
  throw Error("cannot find the executable: the build left no file " + tried, target_hint);
}

std::string run_smoke_test(const std::filesystem::path& binary, const SmokeTest& test,
                           const Isolation& isolation, const Interruption& interruption) {
  const std::string command = "run " + binary.filename().string() + " " + test.argument;
  if (is_noexec(binary))
    throw Error("cannot " + command + ": its file system is mounted noexec", "give another --build-dir");
  std::string first_line;
  std::string last_line;
  const process::RunEnd end = process::run(
      {isolation.smoke_test({binary.string(), test.argument}, binary), {"PATH=/usr/bin:/bin"}, {}, "/", true},
      {test.timeout, std::chrono::seconds(1), interruption.fd()}, [&](std::string_view line) {
        if (first_line.empty()) first_line = line;
        if (!line.empty()) last_line = line;
      });
  interruption.check();
  const auto* status = std::get_if<process::ExitStatus>(&end);
  if (status == nullptr) {
    throw Error("cannot " + command + ": it did not end within " + human_duration(test.timeout),
                "a program that is to be published answers " + test.argument + " and ends");
  }
  if (!status->success()) {
    throw Error("cannot " + command + ": it " + (status->signaled() ? "was " : "") + status->text() +
                    (last_line.empty() ? "" : " after '" + last_line + "'"),
                "nothing was published; check the libraries that it needs, and its main()");
  }
  return first_line;
}

}  // namespace kms::builder
