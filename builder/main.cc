// builder: the init container that fetches, compiles and publishes the KMS plugin.
#include <sys/prctl.h>
#include <unistd.h>

#include "builder/commands/commands.h"
#include "builder/commands/report.h"
#include "builder/sandbox/step.h"

int main(int argc, char** argv) {
  using namespace kms::builder;
  // Without exit handlers: a sanitizer's leak check needs ptrace(2), which the sandbox forbids.
  if (const auto code = run_sandbox_step(argc, argv)) ::_exit(*code);
  // A compiler that runs as this user could read passwords in /proc/PID/environ and in memory (proc(5)).
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  kms::CommandLine line("builder", "Fetch, compile and publish a KMS plugin.", "BUILDER_");
  line.add(build_command(line));
  line.add(fetch_command(line));
  line.default_command("build");
  report_usage_errors(line);
  return line.run(argc, argv);
}
