// What the provider counts, in Prometheus' text format 0.0.4. Pure functions but for the locks of what is
// read; any thread.
#pragma once

#include <string>

#include "provider/faults/faults.h"
#include "provider/journal/journal.h"
#include "provider/keys/key_versions.h"

namespace kms::provider {

/// All metrics as a scrape sees them. Key ids are shown as SHA-256 alone.
[[nodiscard]] std::string metrics_text(const Journal& journal, const Faults& faults,
                                       const KeyVersions& versions);

}  // namespace kms::provider
