#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "supervisor/commands/commands.h"

namespace kms::supervisor {
namespace {

/// The --control-socket of a supervisor that is process 1, so that `exec` in its container finds it; empty if
/// there is none. An image whose sockets follow its arguments has no fixed one.
std::string control_socket_of_init() {
  std::ifstream file("/proc/1/cmdline");
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(std::move(word));
  if (words.empty() || std::filesystem::path(words[0]).filename() != "supervisor") return "";
  const auto option = std::find(words.begin(), words.end(), "--control-socket");
  return words.end() - option > 1 ? option[1] : "";
}

/// Root's socket lies where a container's `exec` finds it. Another user's lies in that user's runtime
/// directory (XDG Base Directory Specification).
std::string default_control_socket() {
  if (std::string socket = control_socket_of_init(); !socket.empty()) return socket;
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
  command.add_option("--instance", instance, "Number of one instance, from 1; 0: all instances")
      ->check(CLI::Range(0U, 1000U));
}

Endpoint control_endpoint(const std::string& control) {
  auto endpoint = Endpoint::parse(control);
  if (!endpoint) throw endpoint.error().within("--control-socket").with(ErrorCode::invalid_input);
  return *std::move(endpoint);
}

}  // namespace kms::supervisor
