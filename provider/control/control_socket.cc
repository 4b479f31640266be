#include "provider/control/control_socket.h"

namespace kms::provider {

Outcome<Endpoint> control_endpoint(const std::string& control, const std::string& kms_socket) {
  if (!control.empty()) {
    auto parsed = Endpoint::parse(control);
    if (const Failure* failure = failure_of(parsed)) {
      return Failure{"--control-socket: " + failure->cause, failure->hint};
    }
    return parsed;
  }
  const auto kms = Endpoint::parse(kms_socket);
  if (const Failure* failure = failure_of(kms)) return Failure{"--socket: " + failure->cause, failure->hint};
  auto beside = Endpoint::parse(std::get<Endpoint>(kms).uri() + ".control");
  if (const Failure* failure = failure_of(beside)) {
    return Failure{"no room for the control socket's name: " + failure->cause,
                   "name one with --control-socket"};
  }
  return beside;
}

}  // namespace kms::provider
