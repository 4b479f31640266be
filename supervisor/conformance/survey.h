// The survey asks a plugin all that the rules are about. It changes nothing in the plugin: Status, Encrypt
// and Decrypt are all that it calls, and it sends no signal.
#pragma once

#include <string>
#include <vector>

#include "common/net/endpoint.h"
#include "supervisor/conformance/observations.h"

namespace kms::supervisor::conformance {

struct SurveyLimits {
  Duration timeout = std::chrono::seconds(3);    ///< of each call; the API server's default
  Duration deadline = std::chrono::seconds(60);  ///< of all of it
};

/// Blocks for `limits.deadline` at most. `replicas` are asked whether they share keys with `endpoint`.
[[nodiscard]] Observations survey(const Endpoint& endpoint, const std::vector<Endpoint>& replicas,
                                  const SurveyLimits& limits);

}  // namespace kms::supervisor::conformance
