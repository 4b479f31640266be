#include "provider/config/scenario_runner.h"

#include <google/protobuf/util/time_util.h>

#include "common/log/log.h"
#include "common/text/protobuf.h"

namespace kms::provider {

using mock_kms::v1::FaultUse;
using mock_kms::v1::Scenario;
using mock_kms::v1::ScenarioStatus;

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
  play_.emplace(scenario, node_, instance_, Clock::now());
  log::info(name_ + " begins", {{"steps", scenario.steps_size()}, {"from", from_file ? "file" : "command"}});
  journal_.note(name_ + " begins");
  act_all_due();
  if (!thread_.joinable()) thread_ = std::thread([this] { play(); });
  changed_.notify_all();
  return status_now();
}

bool ScenarioRunner::end_scenario() {
  if (!play_ || play_->status(Clock::now()).state() == ScenarioStatus::STOPPED) return false;
  play_->stop(Clock::now());
  faults_.clear("", FaultUse::SCENARIO);
  log::info(name_ + " is stopped");
  journal_.note(name_ + " is stopped");
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
  if (!play_) return {};
  ScenarioStatus status = play_->status(Clock::now());
  status.set_from_file(from_file_);
  const auto begun = std::chrono::duration_cast<std::chrono::nanoseconds>(begun_.time_since_epoch());
  *status.mutable_begun() = google::protobuf::util::TimeUtil::NanosecondsToTimestamp(begun.count());
  return status;
}

void ScenarioRunner::play() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    act_all_due();
    const auto next = play_->next();
    if (next) {
      changed_.wait_until(lock, *next);
    } else {
      changed_.wait(lock);
    }
  }
}

void ScenarioRunner::act_all_due() {
  bool acted = false;
  while (const auto due = play_->take_due(Clock::now())) {
    act(*due);
    acted = true;
  }
  if (!acted || play_->next()) return;
  log::info(name_ + " is played");
  journal_.note(name_ + " is played");
}

void ScenarioRunner::act(const ScenarioTimeline::Due& due) {
  const auto& action = play_->step(due.step).action();
  if (action.has_rotate()) return rotate(due.step, action.rotate());
  if (due.begins) {
    faults_.add(action.fault(), FaultUse::SCENARIO, due.at);
    tell("sets fault " + action.fault().name() + " " + to_short_json(action.fault()), due.step);
  } else {
    faults_.clear(action.fault().name(), FaultUse::SCENARIO);
    tell("clears fault " + action.fault().name(), due.step);
  }
}

void ScenarioRunner::rotate(std::size_t step, const Scenario::Rotation& rotation) {
  std::string error;
  try {
    const auto to = rotation.to() == 0 ? std::nullopt : std::optional<KeyVersion>(rotation.to());
    const auto outcome = versions_.rotate(to, rotation.force());
    if (!outcome) error = outcome.error().cause();
  } catch (const Error& failed) {
    error = failed.what();
  }
  if (error.empty()) return;
  play_->fail(step, error);
  tell("cannot rotate: " + error, step);
}

void ScenarioRunner::tell(const std::string& what, std::size_t step) {
  log::info(name_ + " " + what, {{"step", step + 1}});
  journal_.note(name_ + ", step " + std::to_string(step + 1) + ": " + what);
}

}  // namespace kms::provider
