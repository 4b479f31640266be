// Fills the tables of a report, and says in one sentence what happened.
//
// Pure functions.
#pragma once

#include <string>
#include <vector>

#include "proto/report.pb.h"

namespace kms::supervisor::report {

/// Groups the failed calls of a plugin's journal by method, code and fault.
void add_failed_calls(mock_kms::v1::Report& report, const std::string& plugin,
                      const std::vector<const mock_kms::v1::CallRecord*>& journal);

/// Adds the outages and the differences between the plugins, sorts the failed calls, and sets the verdict.
void judge(mock_kms::v1::Report& report);

}  // namespace kms::supervisor::report
