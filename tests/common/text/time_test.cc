#include "common/text/time.h"

#include <doctest/doctest.h>

using namespace std::chrono_literals;

namespace {

kms::Duration parsed(const char* text) { return *kms::parse_duration(text); }

}  // namespace

TEST_CASE("durations are read as Go writes them") {
  CHECK(parsed("0") == 0s);
  CHECK(parsed("3s") == 3s);
  CHECK(parsed("250ms") == 250ms);
  CHECK(parsed("1m30s") == 90s);
  CHECK(parsed("1.5h") == 90min);
  CHECK(parsed("2us3ns") == 2003ns);
}

TEST_CASE("a malformed duration is refused with what to write instead") {
  for (const char* text : {"", "3", "s", "+1s", "1 s", "1d", "1s2", "nan s", "inf", "1e3s"}) {
    CAPTURE(text);
    const auto outcome = kms::parse_duration(text);
    REQUIRE(!outcome);
    CHECK(outcome.error().line().find("such as 3s") != std::string::npos);
  }
}

TEST_CASE("a duration that is negative or too long is called so") {
  CHECK(kms::parse_duration("-1s").error().cause() == "'-1s' is negative");
  CHECK(kms::parse_duration("1m-1s").error().cause() == "'1m-1s' is negative");
  CHECK(kms::parse_duration("99999999999h").error().cause() == "'99999999999h' is too long");
}

TEST_CASE("durations are written as they are read") {
  for (const char* text :
       {"0", "1s", "1m30s", "250ms", "1h", "2.003us", "1.2s", "1m0.5s", "1h30m", "7ns", "1.05ms"})
    CHECK(kms::go_duration(parsed(text)) == text);
}

TEST_CASE("durations are shown at the size that people think in") {
  CHECK(kms::human_duration(400us) == "0.4 ms");
  CHECK(kms::human_duration(3200ms) == "3.2 s");
  CHECK(kms::human_duration(250s) == "4m 10s");
  CHECK(kms::human_duration(3h + 5min) == "3h 05m");
  CHECK(kms::human_duration(52h) == "2d 4h");
}
