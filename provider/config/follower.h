// ConfigFollower keeps the provider as the file of --config declares it: it notices when the file changes and
// takes it up, whole or not at all.
//
// Made by main's thread; follows on a thread of its own until it is destroyed. status() may be called from
// any thread. A bad file changes nothing: what was taken up last stays in effect.
#pragma once

#include <mutex>
#include <string>
#include <thread>

#include "provider/config/config.h"
#include "provider/config/file_watch.h"
#include "provider/config/scenario_runner.h"

namespace kms::provider {

/// What a configuration declares, and the journal that is told of it.
struct Declared {
  Faults& faults;
  KeyVersions& versions;
  ScenarioRunner& runner;
  Journal& journal;
};

class ConfigFollower {
 public:
  /// Takes the file up as it is now and follows it. Throws Error where it cannot be watched.
  ConfigFollower(const std::string& path, Declared declared);
  ConfigFollower(const ConfigFollower&) = delete;
  ConfigFollower& operator=(const ConfigFollower&) = delete;
  ~ConfigFollower();

  [[nodiscard]] mock_kms::v1::ConfigStatus status() const;

  /// Has the file looked at even where no change of it was noticed (inotify(7) sees none on a network's or a
  /// user's file system), and what became of it told. Any thread; does not wait.
  void read_again();

 private:
  void follow();
  void take_up_file();
  void take_up(const mock_kms::v1::ProviderConfig& config);
  void refuse(const std::string& why);
  void accept(const mock_kms::v1::ProviderConfig& config, const std::string& digest);

  const Declared declared_;
  FileWatch watch_;
  UniqueFd stop_event_;
  UniqueFd again_event_;
  mock_kms::v1::Scenario scenario_;  ///< that the file in effect declares
  std::string last_seen_;            ///< what became of the file at the last look: its digest and the error

  mutable std::mutex mutex_;  ///< guards status_
  mock_kms::v1::ConfigStatus status_;

  std::thread thread_;
};

}  // namespace kms::provider
