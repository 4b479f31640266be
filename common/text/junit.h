// Writes test reports in JUnit's format, which CI systems read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/text/time.h"

namespace kms {

struct JunitCase {
  std::string group;  ///< `classname`
  std::string name;
  std::string failure;            ///< empty: none
  std::string skipped;            ///< the reason; empty: not skipped
  std::string skipped_type = {};  ///< the kind of the reason; empty: not written
};

/// The document of one suite. `took` is its total time.
[[nodiscard]] std::string junit_report(std::string_view suite, const std::vector<JunitCase>& cases,
                                       Duration took);

}  // namespace kms
