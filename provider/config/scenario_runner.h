// ScenarioRunner plays a scenario on a thread of its own: it sets and clears faults and rotates the key at
// their times.
//
// Called from any thread; borrows what it acts on. One scenario at a time: another one takes its place, and
// with it the faults of the one before end. The thread is made with the first scenario.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "provider/config/scenario.h"
#include "provider/faults/faults.h"
#include "provider/journal/journal.h"
#include "provider/keys/key_versions.h"

namespace kms::provider {

class ScenarioRunner {
 public:
  ScenarioRunner(Faults& faults, KeyVersions& versions, Journal& journal, std::string node,
                 std::string instance)
      : faults_(faults),
        versions_(versions),
        journal_(journal),
        node_(std::move(node)),
        instance_(std::move(instance)) {}
  ScenarioRunner(const ScenarioRunner&) = delete;
  ScenarioRunner& operator=(const ScenarioRunner&) = delete;
  ~ScenarioRunner() { end(); }

  /// Sets, clears and rotates nothing from now on; the faults stay as they are. May be called again, run()
  /// not.
  void end();

  /// Begins a complete scenario now. What is due at once is done when it returns.
  mock_kms::v1::ScenarioStatus run(const mock_kms::v1::Scenario& scenario, bool from_file);

  /// Ends the scenario and its faults; false where there is none to end.
  bool stop();

  /// The same for one that a file declared; a scenario by command goes on.
  void stop_from_file();

  [[nodiscard]] mock_kms::v1::ScenarioStatus status() const;

 private:
  using Clock = std::chrono::steady_clock;

  void play();
  bool end_scenario();
  void act_all_due();
  void act(const ScenarioTimeline::Due& due);
  void rotate(std::size_t step, const mock_kms::v1::Scenario::Rotation& rotation);
  void tell(const std::string& what, std::size_t step);
  [[nodiscard]] mock_kms::v1::ScenarioStatus status_now() const;

  Faults& faults_;
  KeyVersions& versions_;
  Journal& journal_;
  const std::string node_;
  const std::string instance_;

  mutable std::mutex mutex_;  ///< guards all below
  std::condition_variable changed_;
  bool ending_ = false;
  std::optional<ScenarioTimeline> play_;
  std::string name_;
  bool from_file_ = false;
  std::chrono::system_clock::time_point begun_;
  std::thread thread_;
};

}  // namespace kms::provider
