// Events and lines of output are bounded, however long the supervisor lives.
#include <doctest/doctest.h>

#include "supervisor/history/history.h"
#include "supervisor/output/plugin_output.h"
#include "supervisor/probe/health.h"

namespace kms::supervisor {

TEST_CASE(
    "the history keeps the last events, numbered on, and gives those after a number or of one instance") {
  History history;
  for (unsigned i = 1; i <= History::kept_events + 10; ++i)
    history.add(mock_kms::v1::LAUNCHED, i % 2 + 1, "launched", {{"pid", i}});
  mock_kms::v1::EventPage all;
  history.read(0, 0, all);
  REQUIRE(all.events_size() == History::kept_events);
  CHECK(all.events(0).number() == 11);
  CHECK(all.events(0).pid() == 11);
  mock_kms::v1::EventPage newest;
  history.read(History::kept_events + 8, 1, newest);
  REQUIRE(newest.events_size() == 1);
  CHECK(newest.events(0).number() == History::kept_events + 10);
}

TEST_CASE("an event's text is cut where a plugin's words would make it endless") {
  History history;
  history.add(mock_kms::v1::UNHEALTHY, 0, "answers", {{"cause", std::string(1 << 20, 'x')}});
  mock_kms::v1::EventPage page;
  history.read(0, 0, page);
  CHECK(page.events(0).details().at("cause").size() == 1024);
  history.add(mock_kms::v1::UNHEALTHY, 0, "healthz is '\xff" + std::string(4 << 20, 'x'), {});
  page.Clear();
  history.read(1, 0, page);
  CHECK(page.events(0).text().starts_with("healthz is '\uFFFD" + std::string(900, 'x')));
  CHECK(page.events(0).text().size() < 1100);
}

TEST_CASE("a plugin's answers are kept only as far as a status shows them") {
  Health health(Duration{0});
  ProbeAnswer answer;
  answer.status.set_version("v2");
  answer.status.set_healthz(std::string(4 << 20, 'x'));
  answer.status.set_key_id(std::string(4 << 20, 'k'));
  health.note({1, answer}, {}, {});
  CHECK(health.fault() == "healthz is '" + std::string(512, 'x') + "…' instead of ok (rule 12)");
  health.note({1, DeepAnswer{std::string(4 << 20, 'k'), std::string(4 << 20, 'p'), {}}}, {}, {});
  mock_kms::v1::SupervisorStatus status;
  health.fill(status);
  CHECK(status.ByteSizeLong() < 10000);
}

TEST_CASE("the output's last lines are kept up to a number of bytes and of lines") {
  OutputLog few_long;
  for (std::uint64_t i = 1; i <= 100; ++i) few_long.add(i, 7, std::string(4096, 'x'));
  mock_kms::v1::OutputPage page;
  few_long.read(0, 0, page);
  CHECK(page.lines_size() == OutputLog::kept_bytes / 4096);
  CHECK(page.lines(page.lines_size() - 1).number() == 100);

  OutputLog many_short;
  for (std::uint64_t i = 1; i <= 5000; ++i) many_short.add(i, 7, "");
  page.Clear();
  many_short.read(4990, 3, page);
  REQUIRE(page.lines_size() == 10);
  CHECK(page.lines(0).instance() == 3);
  page.Clear();
  many_short.read(0, 3, page);
  CHECK(page.lines_size() == OutputLog::kept_lines);
}

}  // namespace kms::supervisor
