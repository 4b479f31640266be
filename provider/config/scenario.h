// ScenarioTimeline decides which steps of a scenario are due. ScenarioRunner executes them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "common/text/time.h"
#include "proto/provider_control.pb.h"
#include "provider/core/provider_state.h"

namespace kms::provider {

/// Orders the starts and ends of steps and keeps their states. It reads no clock: the caller passes the time.
/// One thread uses it at a time.
class ScenarioTimeline {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Step = mock_kms::v1::Scenario::Step;

  /// The begin or the end of a step. It is executed as of `at`, even if the caller is late.
  struct Due {
    Time at;
    std::size_t step;
    bool begins;  ///< else it ends
  };

  /// `scenario` is complete (complete_scenario()). Steps for other nodes and instances are never due.
  ScenarioTimeline(mock_kms::v1::Scenario scenario, std::string_view node, std::string_view instance,
                   Time begun);

  /// Takes the next begin or end that is due by `now`, in order of time. At the same instant, ends come
  /// before begins.
  [[nodiscard]] std::optional<Due> take_due(Time now);

  /// The time of the next begin or end; empty if all are done.
  [[nodiscard]] std::optional<Time> next() const;

  [[nodiscard]] const Step& step(std::size_t number) const {
    return scenario_.steps(static_cast<int>(number));
  }

  /// Marks the step that began last as failed. It then has no end.
  void fail(std::size_t step, std::string error);

  /// Nothing is due from now on, and no fault is active. A finished scenario stays a finished one.
  void stop(Time now);

  /// State, name, times and steps.
  [[nodiscard]] mock_kms::v1::ScenarioStatus status(Time now) const;

 private:
  mock_kms::v1::Scenario scenario_;
  Time begun_;
  std::optional<Time> stopped_;
  std::vector<Due> timeline_;
  std::size_t done_ = 0;  ///< of timeline_
  std::vector<mock_kms::v1::StepStatus> steps_;
};

/// Runs one scenario at a time on its own thread: it sets and clears faults and rotates the key. Another
/// scenario replaces it and ends its faults. The first scenario starts the thread.
///
/// Called from any thread. Borrows the state.
class ScenarioRunner {
 public:
  explicit ScenarioRunner(ProviderState& state) : state_(state) {}
  ScenarioRunner(const ScenarioRunner&) = delete;
  ScenarioRunner& operator=(const ScenarioRunner&) = delete;
  ~ScenarioRunner() { end(); }

  /// Ends the thread; the faults stay as they are. May be called twice, but no run() may follow.
  void end();

  /// Begins a complete scenario. All that is due at once is done when it returns.
  mock_kms::v1::ScenarioStatus run(const mock_kms::v1::Scenario& scenario, bool from_file);

  /// Ends the scenario and its faults. False if there is none to end.
  bool stop();

  /// Stops a scenario that a file declared. A scenario by command goes on.
  void stop_from_file();

  [[nodiscard]] mock_kms::v1::ScenarioStatus status() const;

 private:
  using Clock = std::chrono::steady_clock;

  void run_thread();
  bool end_scenario();
  void execute_all_due();
  void execute(const ScenarioTimeline::Due& due);
  void rotate(std::size_t step, const mock_kms::v1::Scenario::Rotation& rotation);
  void report(const std::string& event);
  void report_step(const std::string& event, std::size_t step);
  [[nodiscard]] mock_kms::v1::ScenarioStatus status_now() const;

  ProviderState& state_;

  mutable std::mutex mutex_;  ///< guards all below
  std::condition_variable changed_;
  bool ending_ = false;
  std::optional<ScenarioTimeline> timeline_;
  std::string name_;
  bool has_ended_ = false;  ///< it was stopped, and its faults are gone
  bool from_file_ = false;
  std::chrono::system_clock::time_point begun_;
  std::thread thread_;
};

}  // namespace kms::provider
