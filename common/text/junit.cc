#include "common/text/junit.h"

#include <algorithm>

#include "common/error.h"
#include "common/text/escape.h"

namespace kms {
namespace {

/// Escapes text for XML elements and attributes. Control characters, which XML 1.0 forbids, become '?'.
std::string xml(std::string_view text) {
  std::string escaped;
  for (const char c : utf8_text(text)) {
    switch (c) {
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '&':
        escaped += "&amp;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += static_cast<unsigned char>(c) < ' ' ? '?' : c;
    }
  }
  return escaped;
}

std::string attribute(std::string_view name, std::string_view value) {
  return " " + std::string(name) + "=\"" + xml(value) + "\"";
}

std::string element(const JunitCase& test) {
  std::string inside;
  if (!test.failure.empty()) inside = "    <failure" + attribute("message", test.failure) + "/>\n";
  if (!test.skipped.empty()) {
    const std::string type = test.skipped_type.empty() ? "" : attribute("type", test.skipped_type);
    inside += "    <skipped" + type + attribute("message", test.skipped) + "/>\n";
  }
  const std::string opening =
      "  <testcase" + attribute("classname", test.group) + attribute("name", test.name);
  return inside.empty() ? opening + "/>\n" : opening + ">\n" + inside + "  </testcase>\n";
}

}  // namespace

std::string junit_report(std::string_view suite, const std::vector<JunitCase>& cases, Duration took) {
  const auto count = [&](std::string JunitCase::*what) {
    return std::to_string(std::count_if(cases.begin(), cases.end(),
                                        [&](const JunitCase& test) { return !(test.*what).empty(); }));
  };
  std::string report = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite" + attribute("name", suite) +
                       attribute("tests", std::to_string(cases.size())) +
                       attribute("failures", count(&JunitCase::failure)) +
                       attribute("skipped", count(&JunitCase::skipped)) +
                       attribute("time", std::to_string(std::chrono::duration<double>(took).count())) + ">\n";
  for (const JunitCase& test : cases) report += element(test);
  return report + "</testsuite>\n";
}

}  // namespace kms
