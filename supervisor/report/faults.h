// FaultTrack derives from a plugin's journal and log when which injected fault was set.
//
// One thread uses it. The changes come in their order; some may be missing.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "proto/report.pb.h"
#include "supervisor/report/states.h"

namespace kms::supervisor::report {

class FaultTrack {
 public:
  explicit FaultTrack(mock_kms::v1::PluginReport& plugin) : plugin_(plugin) {}

  /// A change as the journal tells it, such as "fault slow is set: {...}".
  void change(const std::string& text, WallTime at);

  /// A call met faults. `names` are joined by ", ".
  void met(const std::string& names, WallTime at);

  /// The process ended. Its faults ended with it.
  void process_ended(WallTime at);

  /// Ends the track at `end`. `status` names the faults that were still set then; nullptr: nobody knows.
  void finish(WallTime end, const mock_kms::v1::SupervisorStatus* status);

 private:
  enum class Origin { command, scenario, unknown };
  struct Set {
    WallTime at;
    std::string text;
    Origin origin;
  };

  void set(const std::string& name, WallTime at, const std::string& text, Origin origin);
  void clear(const std::string& name, WallTime at);
  void end_by_time(const std::string& name, WallTime noticed, const std::optional<std::string>& lasted);
  void clear_all(Origin origin, WallTime at);
  void add_span(const std::string& name, const Set& fault, WallTime to, bool open);

  mock_kms::v1::PluginReport& plugin_;
  std::map<std::string, Set> set_;
};

}  // namespace kms::supervisor::report
