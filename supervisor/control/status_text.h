// A supervisor's status as people read it. Pure functions of the status and the time it is read at.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

enum class Colours { none, ansi };

/// The whole status, ended by a newline: a line or more for each part that is known; of several instances a
/// table with a line each.
[[nodiscard]] std::string status_text(const mock_kms::v1::SupervisorStatus& status,
                                      std::chrono::system_clock::time_point now,
                                      Colours colours = Colours::none);

/// One line without a newline: "healthy: pid 12, key_id default/v1/0a1b2c3d" or "not healthy (backing off):
/// cause".
[[nodiscard]] std::string status_line(const mock_kms::v1::SupervisorStatus& status);

/// The whole status in protobuf's JSON mapping, ended by a newline.
[[nodiscard]] std::string status_json(const mock_kms::v1::SupervisorStatus& status);

/// The same on one line, without a newline.
[[nodiscard]] std::string status_json_line(const mock_kms::v1::SupervisorStatus& status);

/// The lines of a text, without their ends.
[[nodiscard]] std::vector<std::string> lines_of(const std::string& text);

}  // namespace kms::supervisor
