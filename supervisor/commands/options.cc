#include <unistd.h>

#include <cstdlib>

#include "supervisor/commands/commands.h"

namespace kms::supervisor {
namespace {

/// Root's socket lies where a container's `exec` finds it. Another user's lies in that user's runtime
/// directory (XDG Base Directory Specification).
std::string default_control_socket() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const bool has_own = ::geteuid() != 0 && runtime != nullptr && *runtime != '\0';
  return std::string("unix://") + (has_own ? runtime : "/run") + "/mock-kms/supervisor.sock";
}

}  // namespace

void add_control_socket(CommandLine& line, std::string& control) {
  control = default_control_socket();
  line.app()
      .add_option("--control-socket", control, "Socket on which the supervisor takes commands, mode 0600")
      ->capture_default_str();
}

void add_instance(CLI::App& command, unsigned& instance) {
  command.add_option("--instance", instance, "Number of one instance, from 1 [all instances]")
      ->check(CLI::Range(1U, 1000U));
}

Endpoint control_endpoint(const std::string& control) {
  auto endpoint = Endpoint::parse(control);
  if (!endpoint) throw endpoint.error().within("--control-socket").with(ErrorCode::invalid_input);
  return *std::move(endpoint);
}

}  // namespace kms::supervisor
