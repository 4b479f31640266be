// merge() turns the evidence of all nodes into one report: states, keys, faults, calls and the lease of each
// plugin on one time axis, and the tables.
//
// A pure function of the evidence. It reads no clock.
#pragma once

#include "supervisor/report/evidence.h"

namespace kms::supervisor::report {

[[nodiscard]] mock_kms::v1::Report merge(const Evidence& evidence);

/// For a terminal: the verdict, then a line for each plugin, outage, difference and damaged file.
[[nodiscard]] std::string report_text(const mock_kms::v1::Report& report);

}  // namespace kms::supervisor::report
