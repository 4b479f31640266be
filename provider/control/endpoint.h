// control_endpoint() names the socket of an instance's control service, for the provider and its commands.
//
// The socket is beside the KMS socket, so one address gives the other, and each instance has its own.
// "/run/kms.sock" has "/run/kms.sock.control", "@name" has "@name.control".
#pragma once

#include <string>

#include "common/net/endpoint.h"

namespace kms::provider {

/// `control` is an endpoint, or empty for the one beside `kms_socket`. The Error names the option to change.
[[nodiscard]] inline Outcome<Endpoint> control_endpoint(const std::string& control,
                                                        const std::string& kms_socket) {
  if (!control.empty()) {
    auto parsed = Endpoint::parse(control);
    if (!parsed) {
      return parsed.error().within("--control-socket");
    }
    return parsed;
  }
  const auto kms = Endpoint::parse(kms_socket);
  if (!kms) return kms.error().within("--socket");
  auto beside = Endpoint::parse(kms->uri() + ".control");
  if (beside) return beside;
  return Error("no room for the control socket's name: " + beside.error().cause(),
               "name one with --control-socket");
}

}  // namespace kms::provider
