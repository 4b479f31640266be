// mock-kms-provider: a KMS v2 plugin for tests, and a small client for it.
#include <sys/prctl.h>
#include <sys/resource.h>

#include <chrono>

#include "common/cli/command_line.h"
#include "common/cli/exit_code.h"
#include "common/crypto/openssl.h"
#include "common/log/log.h"
#include "provider/commands/commands.h"

namespace {

/// Leaves no core dump and lets no other user's process read the memory (prctl(2), core(5)). Throws Error.
void forbid_core_dumps() {
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) kms::throw_errno("forbid core dumps by RLIMIT_CORE");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) kms::throw_errno("forbid core dumps by PR_SET_DUMPABLE");
}

}  // namespace

int main(int argc, char** argv) {
  using namespace kms::provider;
  const auto begun = std::chrono::steady_clock::now();
  kms::CommandLine line(
      "mock-kms-provider",
      "Serve KMS v2 with keys, rotations and faults for tests of Kubernetes' encryption at rest.",
      "MOCK_KMS_");
  line.add(serve_command(line, begun));
  for (const auto& command : {status_command, encrypt_command, decrypt_command, rotate_command, keys_command,
                              fault_command, journal_command, metrics_command, expect_command,
                              scenario_command, config_command, inspect_command}) {
    line.add(command(line));
  }
  line.default_command("serve");
  line.commands_elsewhere("supervisor",
                          {"run", "events", "logs", "restart", "stop", "start", "check", "report"});
  try {
    kms::openssl::set_up();
    forbid_core_dumps();  // before a seed or a plaintext is in memory
  } catch (const kms::Error& error) {
    kms::log::error(error.what());
    return kms::exit_code::failed;
  }
  return line.run(argc, argv);
}
