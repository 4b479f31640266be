#include "supervisor/control/status_summary.h"

#include <algorithm>

namespace kms::supervisor {
namespace {

using mock_kms::v1::SupervisorStatus;

/// 0 for a healthy one, more the worse it is off.
int trouble(const SupervisorStatus& status) { return status.healthy() ? 0 : status.ready() ? 1 : 2; }

}  // namespace

SupervisorStatus summary_of(std::vector<SupervisorStatus> instances) {
  if (instances.size() == 1) return std::move(instances.front());
  SupervisorStatus whole;
  const auto worst = std::max_element(instances.begin(), instances.end(),
                                      [](const auto& a, const auto& b) { return trouble(a) < trouble(b); });
  whole.set_state(worst->state());
  *whole.mutable_since() = worst->since();
  whole.set_healthy(trouble(*worst) == 0);
  whole.set_ready(trouble(*worst) < 2);
  if (!worst->reason().empty())
    whole.set_reason("instance " + std::to_string(worst->instance()) + ": " + worst->reason());
  for (SupervisorStatus& instance : instances) {
    whole.set_restarts(whole.restarts() + instance.restarts());
    *whole.add_instances() = std::move(instance);
  }
  return whole;
}

}  // namespace kms::supervisor
