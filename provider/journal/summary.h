// summarize() turns the journal's calls into figures for `journal --summary`; summary_text() shows them.
//
// Pure functions.
#pragma once

#include <string>

#include "proto/journal_summary.pb.h"
#include "proto/provider_control.pb.h"

namespace kms::provider {

/// Changes in the journal count as no call.
[[nodiscard]] mock_kms::v1::JournalSummary summarize(const mock_kms::v1::JournalPage& page);

/// A table, and a line of blocks for all calls and for the failed ones. Ends with a newline.
[[nodiscard]] std::string summary_text(const mock_kms::v1::JournalSummary& summary);

}  // namespace kms::provider
