// ScenarioTimeline decides what of a scenario is to be done when, and knows how far it is. It knows no clock
// or thread: time is told to it.
//
// Used by one thread at a time (ScenarioRunner guards it).
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/text/time.h"
#include "proto/provider_control.pb.h"

namespace kms::provider {

class ScenarioTimeline {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Step = mock_kms::v1::Scenario::Step;

  /// What is to be done about a step, and when it was due: a late caller does it as of then.
  struct Due {
    Time at;
    std::size_t step;
    bool begins;  ///< else it ends
  };

  /// `scenario` is complete (complete_scenario()). Steps of other nodes and instances are never due.
  ScenarioTimeline(mock_kms::v1::Scenario scenario, std::string_view node, std::string_view instance,
                   Time begun);

  /// Takes the next thing that is due by `now`, in the order of time; of what is due at one instant, the end
  /// of a step comes before the begin of another.
  [[nodiscard]] std::optional<Due> take_due(Time now);

  /// When the next thing is due; nothing where all is done.
  [[nodiscard]] std::optional<Time> next() const;

  [[nodiscard]] const Step& step(std::size_t number) const {
    return scenario_.steps(static_cast<int>(number));
  }

  /// The step that was begun last could not be; it is not ended then.
  void fail(std::size_t step, std::string error);

  /// Nothing is due from now on.
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

}  // namespace kms::provider
