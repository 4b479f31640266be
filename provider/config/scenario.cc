#include "provider/config/scenario.h"

#include <algorithm>

#include "common/text/glob.h"
#include "common/text/protobuf.h"

namespace kms::provider {

using mock_kms::v1::ScenarioStatus;
using mock_kms::v1::StepStatus;

ScenarioTimeline::ScenarioTimeline(mock_kms::v1::Scenario scenario, std::string_view node,
                                   std::string_view instance, Time begun)
    : scenario_(std::move(scenario)), begun_(begun) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(scenario_.steps_size()); ++i) {
    const Step& step = this->step(i);
    StepStatus& status = steps_.emplace_back();
    *status.mutable_step() = step;
    if (step.action().has_fault()) status.set_fault(step.action().fault().name());
    if ((!step.node().empty() && !glob_match(step.node(), node)) ||
        (!step.instance().empty() && !glob_match(step.instance(), instance))) {
      status.set_state(StepStatus::ELSEWHERE);
      continue;
    }
    timeline_.push_back({begun + from_proto(step.at()), i, true});
    if (step.has_until()) timeline_.push_back({begun + from_proto(step.until()), i, false});
  }
  std::stable_sort(timeline_.begin(), timeline_.end(), [](const Due& a, const Due& b) {
    return a.at != b.at ? a.at < b.at : !a.begins && b.begins;
  });
}

std::optional<ScenarioTimeline::Due> ScenarioTimeline::take_due(Time now) {
  while (true) {
    const auto when = next();
    if (!when || *when > now) return std::nullopt;
    const Due due = timeline_[done_++];
    StepStatus& status = steps_[due.step];
    if (status.state() == StepStatus::FAILED) continue;
    status.set_state(due.begins && status.step().action().has_fault() ? StepStatus::ACTIVE
                                                                      : StepStatus::DONE);
    return due;
  }
}

std::optional<ScenarioTimeline::Time> ScenarioTimeline::next() const {
  if (stopped_ || done_ == timeline_.size()) return std::nullopt;
  return timeline_[done_].at;
}

void ScenarioTimeline::fail(std::size_t step, std::string error) {
  steps_[step].set_state(StepStatus::FAILED);
  steps_[step].set_error(std::move(error));
}

void ScenarioTimeline::stop(Time now) {
  if (!stopped_) stopped_ = now;
  for (StepStatus& status : steps_) {
    if (status.state() == StepStatus::ACTIVE) status.set_state(StepStatus::DONE);
  }
}

ScenarioStatus ScenarioTimeline::status(Time now) const {
  ScenarioStatus status;
  const Duration length = timeline_.empty() ? Duration{0} : timeline_.back().at - begun_;
  status.set_name(scenario_.name());
  status.set_state(stopped_                    ? ScenarioStatus::STOPPED
                   : done_ == timeline_.size() ? ScenarioStatus::FINISHED
                                               : ScenarioStatus::RUNNING);
  const Duration elapsed = stopped_.value_or(now) - begun_;
  const bool over = status.state() == ScenarioStatus::FINISHED;
  *status.mutable_elapsed() = to_proto(over ? std::min(elapsed, length) : elapsed);
  *status.mutable_length() = to_proto(length);
  for (const StepStatus& step : steps_) *status.add_steps() = step;
  return status;
}

}  // namespace kms::provider
