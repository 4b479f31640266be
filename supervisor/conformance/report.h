// Reports the findings of all rules as a protobuf message, a table and a JUnit document. Pure functions.
#pragma once

#include <string>

#include "proto/check_report.pb.h"
#include "supervisor/conformance/rules.h"

namespace kms::supervisor::conformance {

/// Judges `seen` by every rule.
[[nodiscard]] mock_kms::v1::CheckReport report_on(const Observations& seen);

/// A row for each rule, and a summary line.
[[nodiscard]] std::string report_text(const mock_kms::v1::CheckReport& report);

/// A test case for each rule. A broken MUST is a failure. A broken SHOULD, and a rule that could not be
/// judged, is skipped with the reason.
[[nodiscard]] std::string report_junit(const mock_kms::v1::CheckReport& report, Duration took);

}  // namespace kms::supervisor::conformance
