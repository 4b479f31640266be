// The rows of a status as people read it: a name in a column of its own, then what is known. Pure functions
// of the status and the time it is read at.
#pragma once

#include <chrono>
#include <string>

#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

/// One row, ended by a newline.
[[nodiscard]] std::string row(const std::string& name, std::string text);

/// All rows of one plugin's status: one or more for each part that is known.
[[nodiscard]] std::string rows_of(const mock_kms::v1::SupervisorStatus& status,
                                  std::chrono::system_clock::time_point now);

// Times and durations as they stand in rows.

[[nodiscard]] std::chrono::system_clock::time_point wall_time(const google::protobuf::Timestamp& time);

/// "2.0 s ago".
[[nodiscard]] std::string ago(const google::protobuf::Timestamp& time,
                              std::chrono::system_clock::time_point now);

/// "2.0 s".
[[nodiscard]] std::string length(const google::protobuf::Duration& value);

}  // namespace kms::supervisor
