// Reports the findings of all rules as a protobuf message, a table and a JUnit document. Pure functions.
#pragma once

#include <string>

#include "proto/check_report.pb.h"
#include "supervisor/conformance/rules.h"

namespace kms::supervisor::conformance {

/// Judges `seen` by every rule.
[[nodiscard]] mock_kms::v1::CheckReport report_on(const Observations& seen);

/// The rules that a table lists.
enum class Rows { all, not_passed };

/// A row for each rule, and a summary line that names the broken rules.
[[nodiscard]] std::string report_text(const mock_kms::v1::CheckReport& report, Rows rows = Rows::all);

/// A plugin that breaks a SHOULD does not conform either.
void judge_strictly(mock_kms::v1::CheckReport& report);

/// Leaves only the results of the rules that did not pass.
void remove_passed(mock_kms::v1::CheckReport& report);

/// A test case for each rule. A broken MUST is a failure, and with `strict` a broken SHOULD too. Otherwise a
/// broken SHOULD is skipped, as is a rule that could not be judged. The attribute `type` tells them apart:
/// "broken SHOULD", "not applicable", "not visible".
[[nodiscard]] std::string report_junit(const mock_kms::v1::CheckReport& report, Duration took,
                                       bool strict = false);

}  // namespace kms::supervisor::conformance
