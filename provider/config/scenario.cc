#include "provider/config/scenario.h"

#include <algorithm>

#include "common/log/log.h"
#include "common/text/glob.h"
#include "common/text/protobuf.h"

namespace kms::provider {

using mock_kms::v1::FaultUse;
using mock_kms::v1::Scenario;
using mock_kms::v1::ScenarioStatus;
using mock_kms::v1::StepStatus;

ScenarioTimeline::ScenarioTimeline(Scenario scenario, std::string_view node, std::string_view instance,
                                   Time begun)
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
  if (next()) stopped_ = now;
  for (StepStatus& status : steps_) {
    if (status.state() == StepStatus::ACTIVE)
      status.set_state(stopped_ ? StepStatus::STOPPED : StepStatus::DONE);
    if (status.state() == StepStatus::WAITING) status.set_state(StepStatus::SKIPPED);
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

void ScenarioRunner::end() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

ScenarioStatus ScenarioRunner::run(const Scenario& scenario, bool from_file) {
  const std::lock_guard lock(mutex_);
  end_scenario();
  name_ = scenario.name().empty() ? "scenario" : "scenario " + scenario.name();
  from_file_ = from_file;
  begun_ = std::chrono::system_clock::now();
  has_ended_ = false;
  timeline_.emplace(scenario, state_.node, state_.keys.instance(), Clock::now());
  log::info(name_ + " begins", {{"steps", scenario.steps_size()}, {"from", from_file ? "file" : "command"}});
  state_.journal.note(name_ + " begins");
  const bool has_steps_here = timeline_->next().has_value();
  execute_all_due();
  if (!has_steps_here) report("is finished: no step is for this node and instance");
  if (!thread_.joinable()) thread_ = std::thread([this] { run_thread(); });
  changed_.notify_all();
  return status_now();
}

bool ScenarioRunner::end_scenario() {
  if (!timeline_ || std::exchange(has_ended_, true)) return false;
  const ScenarioStatus before = timeline_->status(Clock::now());
  timeline_->stop(Clock::now());
  state_.faults.clear("", FaultUse::SCENARIO);
  for (int i = 0; i < before.steps_size(); ++i) {
    if (before.steps(i).state() == StepStatus::ACTIVE)
      report_step("clears fault " + before.steps(i).fault(), static_cast<std::size_t>(i));
  }
  if (before.state() == ScenarioStatus::RUNNING) report("is stopped");
  return true;
}

bool ScenarioRunner::stop() {
  const std::lock_guard lock(mutex_);
  return end_scenario();
}

void ScenarioRunner::stop_from_file() {
  const std::lock_guard lock(mutex_);
  if (from_file_) end_scenario();
}

ScenarioStatus ScenarioRunner::status() const {
  const std::lock_guard lock(mutex_);
  return status_now();
}

ScenarioStatus ScenarioRunner::status_now() const {
  if (!timeline_) return {};
  ScenarioStatus status = timeline_->status(Clock::now());
  status.set_from_file(from_file_);
  status.set_stored(state_.versions.stored());
  *status.mutable_begun() = to_timestamp(begun_);
  return status;
}

void ScenarioRunner::run_thread() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    execute_all_due();
    const auto next = timeline_->next();
    if (next) {
      changed_.wait_until(lock, *next);
    } else {
      changed_.wait(lock);
    }
  }
}

void ScenarioRunner::execute_all_due() {
  bool executed = false;
  while (const auto due = timeline_->take_due(Clock::now())) {
    execute(*due);
    executed = true;
  }
  if (!executed || timeline_->next()) return;
  report("is finished");
}

void ScenarioRunner::execute(const ScenarioTimeline::Due& due) {
  const auto& action = timeline_->step(due.step).action();
  if (action.has_rotate()) return rotate(due.step, action.rotate());
  if (due.begins) {
    state_.faults.add(action.fault(), FaultUse::SCENARIO, due.at);
    report_step("sets fault " + action.fault().name() + " " + to_user_json(action.fault()), due.step);
  } else {
    state_.faults.clear(action.fault().name(), FaultUse::SCENARIO);
    report_step("clears fault " + action.fault().name(), due.step);
  }
}

void ScenarioRunner::rotate(std::size_t step, const Scenario::Rotation& rotation) {
  std::string error;
  try {
    const auto to = rotation.to() == 0 ? std::nullopt : std::optional<KeyVersion>(rotation.to());
    const auto outcome = state_.versions.rotate(to, rotation.force());
    if (!outcome) error = outcome.error().cause();
    if (outcome) report_step("rotates the key to " + state_.keys.at(outcome->to)->id_text, step);
  } catch (const Error& failed) {
    error = failed.what();
  }
  if (error.empty()) return;
  timeline_->fail(step, error);
  report_step("cannot rotate: " + error, step);
}

void ScenarioRunner::report(const std::string& event) {
  log::info(name_ + " " + event);
  state_.journal.note(name_ + " " + event);
}

void ScenarioRunner::report_step(const std::string& event, std::size_t step) {
  log::info(name_ + " " + event, {{"step", step + 1}});
  state_.journal.note(name_ + ", step " + std::to_string(step + 1) + ": " + event);
}

}  // namespace kms::provider
