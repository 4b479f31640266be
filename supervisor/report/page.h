// page() makes the report one HTML file that needs no network, and no script to be read.
//
// A pure function.
#pragma once

#include <string>

#include "proto/report.pb.h"

namespace kms::supervisor::report {

[[nodiscard]] std::string page(const mock_kms::v1::Report& report);

}  // namespace kms::supervisor::report
