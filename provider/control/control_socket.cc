#include "provider/control/control_socket.h"

namespace kms::provider {

Outcome<Endpoint> control_endpoint(const std::string& control, const std::string& kms_socket) {
  if (!control.empty()) {
    auto parsed = Endpoint::parse(control);
    if (!parsed) {
      return Error("--control-socket: " + parsed.error().cause(), parsed.error().next_step());
    }
    return parsed;
  }
  const auto kms = Endpoint::parse(kms_socket);
  if (!kms) return Error("--socket: " + kms.error().cause(), kms.error().next_step());
  auto beside = Endpoint::parse(kms->uri() + ".control");
  if (!beside) {
    return Error("no room for the control socket's name: " + beside.error().cause(),
                 "name one with --control-socket");
  }
  return beside;
}

}  // namespace kms::provider
