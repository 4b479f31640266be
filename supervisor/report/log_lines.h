// LogHistory finds in the lines of a pod's log what the supervisor and the provider recorded as events.
//
// One thread uses it. Events and journal are bounded and end with their process; the log reaches further
// back.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/supervisor_control.pb.h"

namespace kms::supervisor::report {

/// A line of the programs' own log (common/log/log.h), in either format.
struct LogLine {
  google::protobuf::Timestamp at = {};
  std::string program = {};
  std::string message = {};  ///< with the fields of a text line still at its end
  std::map<std::string, std::string> fields = {};

  /// Empty if it is another kind of line.
  [[nodiscard]] static std::optional<LogLine> parse(std::string_view line);
};

class LogHistory {
 public:
  void add(std::string_view line);

  /// Puts the log's entries that are older than the first one before the others.
  void prepend_to(std::vector<mock_kms::v1::Event>& events, std::vector<mock_kms::v1::CallRecord>& journal);

 private:
  std::vector<mock_kms::v1::Event> events_;
  std::vector<mock_kms::v1::CallRecord> changes_;
};

}  // namespace kms::supervisor::report
