#include "builder/run/progress.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "common/log/log.h"

using namespace std::chrono_literals;
using kms::builder::bar;
using kms::builder::human_bytes;
using kms::builder::Progress;

TEST_CASE("a bar fills with the work and never outgrows the terminal") {
  CHECK(bar("compile", 0, 10, "", 80) == "compile [>                             ] 0/10");
  CHECK(bar("compile", 5, 10, "x", 80) == "compile [===============>              ] 5/10  x");
  CHECK(bar("compile", 10, 10, "", 80) == "compile [==============================] 10/10");
  CHECK(bar("fetch", 7, 0, "", 80) == "fetch [>                             ] 7/?");
  CHECK(bar("fetch", 7, 0, "", 10).size() == 10);
}

TEST_CASE("off a terminal a line comes every few seconds, without what is not known") {
  std::vector<std::string> lines;
  kms::log::redirect([&](const std::string& line) { lines.push_back(line); });
  Progress progress(false, 80);
  const Progress::Clock::time_point begin;
  progress.update("compile", 1, 10, "", begin);
  progress.update("compile", 2, 10, "", begin + 10s);
  progress.update("compile", 3, 10, "x", begin + 20s);
  kms::log::redirect({});
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].ends_with("compile done=2 total=10"));
  CHECK(lines[1].ends_with("compile done=3 total=10 detail=x"));
}

TEST_CASE("bytes read well") {
  CHECK(human_bytes(512) == "512 B");
  CHECK(human_bytes(47640) == "47.6 kB");
  CHECK(human_bytes(44'000'000) == "44.0 MB");
}
