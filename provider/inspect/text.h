// What `inspect` tells people. A pure function, safe from any thread.
#pragma once

#include <string>

#include "proto/etcd_value.pb.h"

namespace kms::provider {

/// One row for each thing that is known. The caller wipes it where it was told to `reveal` the plaintext.
[[nodiscard]] std::string inspect_text(const mock_kms::v1::InspectReport& report, bool reveal);

}  // namespace kms::provider
