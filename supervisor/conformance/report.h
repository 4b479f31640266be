// What the rules found, as a message, a table and JUnit's form. Pure functions, safe from any thread.
#pragma once

#include <string>

#include "proto/check_report.pb.h"
#include "supervisor/conformance/rules.h"

namespace kms::supervisor::conformance {

/// Judges `seen` by every rule.
[[nodiscard]] mock_kms::v1::CheckReport report_on(const Observations& seen);

/// A row for each rule, and a last line that counts.
[[nodiscard]] std::string report_text(const mock_kms::v1::CheckReport& report);

/// A case for each rule: a broken MUST is a failure; a broken SHOULD, and what could not be judged, is
/// skipped with its reason.
[[nodiscard]] std::string report_junit(const mock_kms::v1::CheckReport& report, Duration took);

}  // namespace kms::supervisor::conformance
