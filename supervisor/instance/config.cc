#include "supervisor/instance/config.h"

#include <algorithm>

namespace kms::supervisor {
namespace {

/// An option of mock-kms-provider and its environment variable.
struct PluginOption {
  std::string_view name;
  std::string_view variable;
};
constexpr PluginOption listen_addr{"listen-addr", "MOCK_KMS_LISTEN_ADDR="};
constexpr PluginOption control_socket{"control-socket", "MOCK_KMS_CONTROL_SOCKET="};

/// The value of `option` in the command, else in the environment; "" if there is none.
std::string option_of(const std::vector<std::string>& command, const std::vector<std::string>& environment,
                      const PluginOption& option) {
  std::string value;
  for (const std::string& variable : environment) {
    if (variable.starts_with(option.variable)) value = variable.substr(option.variable.size());
  }
  for (std::size_t i = 0; i < command.size(); ++i) {
    const std::string& word = command[i];
    const std::size_t dashes = word.starts_with("--") ? 2 : 1;
    const std::size_t end = std::min(word.find('='), word.size());
    if (!word.starts_with("-") || word.substr(dashes, end - dashes) != option.name) continue;
    if (end < word.size()) {
      value = word.substr(end + 1);
    } else if (i + 1 < command.size()) {
      value = command[i + 1];
    }
  }
  return value;
}

}  // namespace

std::string numbered(std::string text, unsigned number) {
  static constexpr std::string_view place = "{n}";
  const std::string digits = std::to_string(number);
  for (std::size_t at = 0; (at = text.find(place, at)) != std::string::npos; at += digits.size())
    text.replace(at, place.size(), digits);
  return text;
}

std::vector<std::string> plugin_environment(unsigned number, const Endpoint& socket,
                                            const std::optional<process::Identity>& identity) {
  std::vector<std::string> environment = process::own_environment();
  std::erase_if(environment, [&](const std::string& variable) {
    const bool of_user =
        variable.starts_with("HOME=") || variable.starts_with("USER=") || variable.starts_with("LOGNAME=");
    return variable.starts_with("LISTEN_") || variable.starts_with("NOTIFY_SOCKET=") ||
           variable.starts_with("WATCHDOG_") || variable == listen_addr.variable || (identity && of_user);
  });
  for (std::string& variable : environment) variable = numbered(std::move(variable), number);
  if (option_of({}, environment, listen_addr).empty())
    environment.push_back(std::string(listen_addr.variable) + socket.uri());
  if (!identity) return environment;
  environment.push_back("HOME=" + identity->home);
  if (identity->name.empty()) return environment;
  environment.push_back("USER=" + identity->name);
  environment.push_back("LOGNAME=" + identity->name);
  return environment;
}

std::string control_of(const std::vector<std::string>& command, const std::vector<std::string>& environment,
                       const Endpoint& socket) {
  const std::string named = option_of(command, environment, control_socket);
  const auto listens = Endpoint::parse(option_of(command, environment, listen_addr));
  const std::string beside = (listens ? *listens : socket).uri() + ".control";
  const auto control = Endpoint::parse(named.empty() ? beside : named);
  return control ? control->uri() : "";
}

std::string other_endpoint(const std::vector<std::string>& command,
                           const std::vector<std::string>& environment, const Endpoint& socket) {
  const auto endpoint = Endpoint::parse(option_of(command, environment, listen_addr));
  if (!endpoint || endpoint->uri() == socket.uri()) return "";
  return "the plugin is set to listen on " + endpoint->uri() + ", and the supervisor's --socket is " +
         socket.uri();
}

}  // namespace kms::supervisor
