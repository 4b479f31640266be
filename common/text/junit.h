// Reports in the form that JUnit made common, which CI systems read. Pure functions, safe from any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/text/time.h"

namespace kms {

struct JunitCase {
  std::string group;  ///< `classname`
  std::string name;
  std::string failure;  ///< empty: none
  std::string skipped;  ///< why it tells nothing; empty: it tells
};

/// The document of one suite; `took` is the time of it all.
[[nodiscard]] std::string junit_report(std::string_view suite, const std::vector<JunitCase>& cases,
                                       Duration took);

/// Writes `text` to the file. Throws Error where it cannot.
void write_report(const std::string& file, const std::string& text);

}  // namespace kms
