#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

#include "common/error.h"
#include "common/text/protobuf.h"
#include "supervisor/report/html.h"
#include "supervisor/report/log_lines.h"
#include "supervisor/report/page.h"
#include "supervisor/report/states.h"
#include "supervisor/report/timeline.h"

using namespace kms;
using namespace kms::supervisor::report;
using namespace std::chrono_literals;
using mock_kms::v1::Event;

namespace {

const WallTime start = WallTime(std::chrono::hours(24 * 365 * 56));

Event event(mock_kms::v1::EventKind kind, Duration after, const std::string& text,
            const std::map<std::string, std::string>& details = {}) {
  Event made;
  *made.mutable_at() = to_timestamp(start + std::chrono::duration_cast<WallTime::duration>(after));
  made.set_kind(kind);
  made.set_text(text);
  for (const auto& [key, value] : details) {
    if (key == "pid") {
      made.set_pid(static_cast<std::uint32_t>(std::stoul(value)));
    } else {
      (*made.mutable_details())[key] = value;
    }
  }
  return made;
}

std::vector<StateSpan> states_after(const std::vector<Event>& events, Duration end) {
  StateTrack track;
  for (const Event& one : events) track.add(one);
  track.finish(start + std::chrono::duration_cast<WallTime::duration>(end), nullptr);
  return track.spans();
}

const std::vector<Event> served{event(mock_kms::v1::LAUNCHED, 0s, "launched the plugin", {{"pid", "1"}}),
                                event(mock_kms::v1::READY, 1s, "the plugin is ready", {{"pid", "1"}})};

std::vector<Event> after_serving(std::vector<Event> more) {
  more.insert(more.begin(), served.begin(), served.end());
  return more;
}

std::string kinds_of(const std::vector<StateSpan>& spans) {
  std::string kinds;
  for (const StateSpan& span : spans)
    kinds += span.kind + " " + std::to_string((span.from - start) / 1ms) + " ";
  return kinds;
}

}  // namespace

TEST_CASE("text from outside cannot leave its place") {
  CHECK(escape("<script>&\"'") == "&lt;script&gt;&amp;&quot;&#39;");
  CHECK(escape(std::string("a\0b\x1b[31m\x7f\n", 10)) == "a\\x00b\\x1b[31m\\x7f\\x0a");
  CHECK(escape("\xff\xc0\xaf") == "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  CHECK(escape("\xE2\x80\xAE"
               "fdp") == "\\xe2\\x80\\xaefdp");  // U+202E writes from right to left
  CHECK(escape("\xC2\x85") == "\\xc2\\x85");
  CHECK(escape("schön 中") == "schön 中");
  CHECK(escape("abcdef", 3) == "abc…");
  CHECK(escape("中", 2) == "\xEF\xBF\xBD\xEF\xBF\xBD…");
}

TEST_CASE("a kill is an outage until calls are answered again") {
  const auto spans = states_after(
      after_serving({event(mock_kms::v1::ENDED, 10s, "the plugin ended", {{"pid", "1"}, {"cause", "killed"}}),
                     event(mock_kms::v1::LAUNCHED, 10s, "launched the plugin", {{"pid", "2"}}),
                     event(mock_kms::v1::READY, 11s, "the plugin is ready", {{"pid", "2"}}),
                     event(mock_kms::v1::OUTAGE_OVER, 11s, "calls are answered again",
                           {{"outage", "1.0 s"}, {"cause", "killed"}})}),
      20s);
  CHECK(kinds_of(spans) == "starting 0 serving 1000 outage 10000 serving 11000 ");
  CHECK(spans[2].text == "killed");
  CHECK(spans.back().open);
}

TEST_CASE("the outage of a hang begins with the last good answer") {
  const auto spans = states_after(
      after_serving(
          {event(mock_kms::v1::GIVEN_UP, 13s, "ending the plugin",
                 {{"pid", "1"}, {"cause", "no answer to 3 probes in a row"}}),
           event(mock_kms::v1::ENDED, 13s, "the plugin ended",
                 {{"pid", "1"}, {"cause", "no answer to 3 probes in a row"}}),
           event(mock_kms::v1::LAUNCHED, 13s, "launched the plugin", {{"pid", "2"}}),
           event(mock_kms::v1::READY, 14s, "the plugin is ready", {{"pid", "2"}}),
           event(mock_kms::v1::OUTAGE_OVER, 14s, "calls are answered again", {{"outage", "4.0 s"}})}),
      20s);
  CHECK(kinds_of(spans) == "starting 0 serving 1000 unresponsive 10000 serving 14000 ");
  CHECK(spans[1].to == spans[2].from);
}

TEST_CASE("a planned restart with a standby is no outage, and the old process' end neither") {
  CHECK(kinds_of(states_after(
            after_serving(
                {event(mock_kms::v1::LAUNCHED, 5s, "launched a process to take over", {{"pid", "2"}}),
                 event(mock_kms::v1::READY, 6s, "a process is ready to take over", {{"pid", "2"}}),
                 event(mock_kms::v1::TAKEN_OVER, 6s, "the waiting process takes over", {{"pid", "2"}}),
                 event(mock_kms::v1::ENDED, 7s, "the plugin ended",
                       {{"pid", "1"}, {"cause", "a planned restart replaced it"}})}),
            9s)) == "starting 0 serving 1000 ");
}

TEST_CASE("a pause is asked for and no outage") {
  CHECK(
      kinds_of(states_after(
          after_serving({event(mock_kms::v1::ASKED_TO_STOP, 5s, "asked to stop the plugin and to start none"),
                         event(mock_kms::v1::ENDED, 6s, "the plugin ended",
                               {{"pid", "1"}, {"cause", "the supervisor was asked to stop it"}}),
                         event(mock_kms::v1::LAUNCHED, 8s, "launched the plugin", {{"pid", "2"}})}),
          9s)) == "starting 0 serving 1000 paused 6000 starting 8000 ");
}

TEST_CASE("a plugin that answers badly is unhealthy, not down") {
  CHECK(kinds_of(states_after(
            after_serving({event(mock_kms::v1::UNHEALTHY, 5s, "the plugin answers, but healthz is 'x'"),
                           event(mock_kms::v1::HEALTHY, 6s, "the plugin is healthy again")}),
            9s)) == "starting 0 serving 1000 unhealthy 5000 serving 6000 ");
}

TEST_CASE("events whose beginning is lost, or out of order, end in no span that runs backwards") {
  for (const Event& one : after_serving(
           {event(mock_kms::v1::OUTAGE_OVER, 3s, "", {{"outage", "400.0 s"}}),
            event(mock_kms::v1::ENDED, 1s, ""), event(mock_kms::v1::OUTAGE_OVER, 0s, "", {{"outage", "x"}}),
            event(mock_kms::v1::GIVEN_UP, 2s, "", {{"cause", "no answer to "}})})) {
    for (const Event& other : served) {
      for (const StateSpan& span : states_after({one, other, one}, 0s)) CHECK(span.from <= span.to);
    }
  }
}

TEST_CASE("the report merges nodes in the order of time") {
  Evidence evidence;
  for (const std::string node : {"a", "b"}) {
    PodEvidence& pod = evidence.pods.emplace_back();
    pod.node = node;
    pod.pod = "pod";
    pod.events = served;
    mock_kms::v1::CallRecord call;
    *call.mutable_at() = to_timestamp(start + (node == "a" ? 4s : 2s));
    call.set_event("rotated the key from version 1 to " + node);
    pod.journal.push_back(call);
  }
  const auto report = merge(evidence);
  std::string order;
  for (const auto& entry : report.timeline()) order += entry.plugin() + " " + entry.kind() + " ";
  CHECK(order == "a LAUNCHED b LAUNCHED a READY b READY b ROTATION a ROTATION ");
  CHECK(report.severity() == mock_kms::v1::Report::BAD);  // nobody reported a status
  CHECK(report_text(report).starts_with(
      "2 of 2 plugins are not healthy (a: no supervisor reported a status); no outage; "));
}

TEST_CASE("a call that met several faults shows each of them") {
  Evidence evidence;
  PodEvidence& pod = evidence.pods.emplace_back();
  pod.events = served;
  mock_kms::v1::CallRecord call;
  *call.mutable_at() = to_timestamp(start + 2s);
  call.set_method("Encrypt");
  call.set_fault("slow, down, third");
  pod.journal.push_back(call);
  const auto report = merge(evidence);
  std::string names;
  for (const auto& span : report.plugins(0).faults()) names += span.kind() + " ";
  CHECK(names == "down slow third ");
}

TEST_CASE("the log tells of a key change, also of one back to an earlier key") {
  LogHistory history;
  history.add(
      R"(2026-11-30T02:00:00.123Z info    supervisor: the plugin names another key pid=3 from=a to=b)");
  history.add(
      R"(2026-11-30T02:00:01.123Z warning supervisor: the plugin went back to an earlier key, against rule 15 pid=3 from=b to=a)");
  std::vector<Event> events;
  std::vector<mock_kms::v1::CallRecord> journal;
  history.prepend_to(events, journal);
  REQUIRE(events.size() == 2);
  for (const Event& one : events) CHECK(one.kind() == mock_kms::v1::KEY_CHANGED);
  CHECK(events[1].details().at("to") == "a");
}

TEST_CASE("times that nobody can have seen do not stretch the axis") {
  Evidence evidence;
  PodEvidence& pod = evidence.pods.emplace_back();
  pod.events = served;
  pod.events.push_back(event(mock_kms::v1::SLOW, 0s, ""));
  pod.events.back().mutable_at()->set_seconds(253402300799);
  pod.events.push_back(event(mock_kms::v1::SLOW, 0s, ""));
  pod.events.back().mutable_at()->set_seconds(-62135596800);
  const auto report = merge(evidence);
  CHECK(from_proto(report.from()) == start);
  CHECK(from_proto(report.to()) == start + 1s);
  CHECK(page(report).find("nan") == std::string::npos);
}

TEST_CASE("lines of either log format are read") {
  const auto text = LogLine::parse(
      R"(2026-11-30T02:00:00.123Z error   supervisor: the plugin ended pid=3 status="killed by SIGKILL" cause="a \"b\" = c" next="restart at once")");
  REQUIRE(text);
  CHECK(text->program == "supervisor");
  CHECK(text->message == "the plugin ended");
  CHECK(text->fields == std::map<std::string, std::string>{{"pid", "3"},
                                                           {"status", "killed by SIGKILL"},
                                                           {"cause", "a \"b\" = c"},
                                                           {"next", "restart at once"}});
  const auto json = LogLine::parse(
      R"({"time":"2026-11-30T02:00:00.123Z","level":"error","program":"supervisor","message":"the plugin ended","pid":3})");
  REQUIRE(json);
  CHECK(json->message == text->message);
  CHECK(json->fields.at("pid") == "3");
  for (const char* other :
       {"", "{", "2026", "2026-11-30T02:00:00.123Z", "no time at all, but supervisor: in it", "=", "\"",
        "2026-11-30T02:00:00.123Z error   supervisor: =\""}) {
    CAPTURE(other);
    if (const auto line = LogLine::parse(other)) CHECK(line->fields.empty());
  }
}

TEST_CASE("a damaged archive is refused, and a hostile one writes nothing") {
  for (const std::string& bytes : {std::string(), std::string(511, 'x'), std::string(2048, 'x')}) {
    std::istringstream archive(bytes);
    Files files;
    CHECK_THROWS_AS(read_tar(archive, files), Error);
  }
  std::string block(512, '\0');
  block.replace(0, 25, "../../../node/status.json");
  block.replace(124, 11, "77777777777");
  block.replace(156, 1, "0");
  block.replace(257, 5, "ustar");
  std::istringstream archive(block);
  Files files;
  CHECK_THROWS_WITH_AS(read_tar(archive, files),
                       doctest::Contains("the archive holds a file of 8589934591 bytes"), Error);
}
