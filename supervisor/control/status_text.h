// Shows a supervisor's status and its events as text. Pure functions of the status and the time at which it
// is read.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

enum class Colours { none, ansi };

/// The whole status, ended by a newline. One instance: a row or more for each known part. Several instances:
/// a table with a line for each.
[[nodiscard]] std::string status_text(const mock_kms::v1::SupervisorStatus& status,
                                      std::chrono::system_clock::time_point now,
                                      Colours colours = Colours::none);

/// One line without a newline: "healthy: pid 12, key_id default/v1/0a1b2c3d" or "not healthy (backing off):
/// cause".
[[nodiscard]] std::string status_line(const mock_kms::v1::SupervisorStatus& status);

/// "2026-11-22T14:50:01.123Z [3] the plugin ended pid=12 cause=..." of instance 3 of several.
[[nodiscard]] std::string event_line(const mock_kms::v1::Event& event);

/// The beginning of that line, also of one of output; without the number if there is only one instance.
[[nodiscard]] std::string line_start(const google::protobuf::Timestamp& at, unsigned instance);

/// The status of a whole supervisor. One instance: its own status. Several: a summary that lists them. It is
/// healthy and ready if all instances are, has the state and the reason of the worst, and adds up restarts.
[[nodiscard]] mock_kms::v1::SupervisorStatus summary_of(
    std::vector<mock_kms::v1::SupervisorStatus> instances);

}  // namespace kms::supervisor
