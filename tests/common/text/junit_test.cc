#include "common/text/junit.h"

#include <doctest/doctest.h>

#include "common/error.h"

using namespace std::chrono_literals;

TEST_CASE("a report counts its cases and tells why they failed or were skipped") {
  const std::string report = kms::junit_report(
      "suite", {{"g", "one", "", ""}, {"g", "two", "it broke", ""}, {"g", "three", "", "not now"}}, 1500ms);
  CHECK(report ==
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<testsuite name=\"suite\" tests=\"3\" failures=\"1\" skipped=\"1\" time=\"1.500000\">\n"
        "  <testcase classname=\"g\" name=\"one\"/>\n"
        "  <testcase classname=\"g\" name=\"two\">\n    <failure message=\"it broke\"/>\n  </testcase>\n"
        "  <testcase classname=\"g\" name=\"three\">\n    <skipped message=\"not now\"/>\n  </testcase>\n"
        "</testsuite>\n");
}

TEST_CASE("characters that XML forbids are escaped or replaced") {
  const std::string report = kms::junit_report("a<b>&\"c\"", {{"g", "\x1B[2J\xFF", "", ""}}, 0s);
  CHECK(report.find("name=\"a&lt;b&gt;&amp;&quot;c&quot;\"") != std::string::npos);
  CHECK(report.find("name=\"?[2J\xEF\xBF\xBD\"") != std::string::npos);
}
