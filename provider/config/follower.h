// ConfigFollower keeps the provider as the file of --config declares it. A changed file takes effect as a
// whole or not at all; a bad file changes nothing.
#pragma once

#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "common/io/fd.h"
#include "provider/config/config.h"
#include "provider/config/scenario.h"

namespace kms::provider {

/// Notices when the file at a path may have changed: it was written, replaced by a rename, or a link on its
/// path has another target (`..data` of a mounted ConfigMap). It uses inotify(7) and never reads the file; a
/// write counts when the writer closes the file. Without inotify (the limit of the user is reached, or a
/// sandbox denies it) it notices nothing, and problem() gives the cause. One thread.
class FileWatch {
 public:
  /// The file may be missing.
  explicit FileWatch(std::string path);

  /// Readable when changed() has events to read; -1 without inotify.
  [[nodiscard]] int fd() const { return fd_.get(); }

  /// The reason why no change is noticed; "" while changes are noticed.
  [[nodiscard]] const std::string& problem() const { return problem_; }

  /// Takes the pending events. True if the file may have changed.
  [[nodiscard]] bool changed();

 private:
  void watch_directories();
  void give_up(const std::string& verb_and_object);

  std::string path_;
  UniqueFd fd_;
  std::set<std::string> names_;  ///< the file and the links on its path, in the watched directories
  std::string problem_;
};

/// main creates it; it follows on its own thread until it is destroyed. Without inotify it reads the file
/// every second.
class ConfigFollower {
 public:
  /// Applies the file and follows it.
  ConfigFollower(const std::string& path, ProviderState& state, ScenarioRunner& scenarios);
  ConfigFollower(const ConfigFollower&) = delete;
  ConfigFollower& operator=(const ConfigFollower&) = delete;
  ~ConfigFollower();

  /// Any thread.
  [[nodiscard]] mock_kms::v1::ConfigStatus status() const;

  /// Reads the file again even if no change was noticed (inotify(7) sees none on network and user file
  /// systems), and logs the result. Any thread; does not wait.
  void read_again();

 private:
  void follow();
  void wait();
  void read_file();
  void apply(const mock_kms::v1::ProviderConfig& config);
  void refuse(const std::string& why);
  void accept(const mock_kms::v1::ProviderConfig& config, const std::string& digest);

  ProviderState& state_;
  ScenarioRunner& scenarios_;
  FileWatch watch_;
  UniqueFd stop_event_;
  UniqueFd again_event_;
  mock_kms::v1::Scenario scenario_;  ///< of the file in effect
  std::string last_result_;          ///< digest and error of the last read
  bool stopped_ = false;
  bool warned_ = false;  ///< that there is no inotify

  mutable std::mutex mutex_;  ///< guards status_
  mock_kms::v1::ConfigStatus status_;

  std::thread thread_;
};

}  // namespace kms::provider
