#include <doctest/doctest.h>

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
          {event(mock_kms::v1::TERMINATING, 13s, "ending the plugin",
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
            event(mock_kms::v1::TERMINATING, 2s, "", {{"cause", "no answer to "}})})) {
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
      "2 of 2 plugins are not healthy (a: no supervisor reported a status); no outage is recorded; "));
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
    CHECK_THROWS_AS(read_tar(archive, "", files), Error);
  }
  std::string block(512, '\0');
  block.replace(0, 25, "../../../node/status.json");
  block.replace(124, 11, "77777777777");
  block.replace(156, 1, "0");
  block.replace(257, 5, "ustar");
  std::istringstream archive(block);
  Files files;
  CHECK_THROWS_WITH_AS(read_tar(archive, "", files), doctest::Contains("it is cut off"), Error);
  CHECK(files.content.empty());
}

TEST_CASE("a compressed archive is named as such") {
  std::istringstream archive("\x1F\x8B" + std::string(1024, 'x'));
  Files files;
  CHECK_THROWS_WITH_AS(read_tar(archive, "", files), doctest::Contains("decompress it first"), Error);
}

TEST_CASE("a supervisor that was killed leaves a gap, and no serving plugin") {
  const auto spans =
      states_after(after_serving({event(mock_kms::v1::HEALTHY, 5s, "the plugin is healthy again"),
                                  event(mock_kms::v1::LAUNCHED, 60s, "launched the plugin", {{"pid", "9"}}),
                                  event(mock_kms::v1::READY, 61s, "the plugin is ready", {{"pid", "9"}})}),
                   70s);
  CHECK(kinds_of(spans) == "starting 0 serving 1000 unknown 5000 starting 60000 serving 61000 ");
}

TEST_CASE("a short outage has the length that the supervisor measured") {
  const auto spans = states_after(
      after_serving({event(mock_kms::v1::ENDED, 10s, "the plugin ended", {{"pid", "1"}, {"cause", "killed"}}),
                     event(mock_kms::v1::READY, 10s + 12ms, "the plugin is ready", {{"pid", "2"}}),
                     event(mock_kms::v1::OUTAGE_OVER, 10s + 13ms, "calls are answered again",
                           {{"outage", "12.6 ms"}})}),
      20s);
  REQUIRE(spans.size() == 4);
  CHECK(spans[2].kind == "outage");
  CHECK(spans[2].to - spans[2].from == 12600us);
}

TEST_CASE("an outage of days has its length") {
  const auto spans = states_after(after_serving({event(mock_kms::v1::OUTAGE_OVER, 30h,
                                                       "calls are answered again", {{"outage", "1d 3h"}})}),
                                  31h);
  REQUIRE(spans.size() == 4);
  CHECK(spans[2].kind == "outage");
  CHECK(spans[2].to - spans[2].from == 27h);
}

namespace {

mock_kms::v1::CallRecord change(Duration after, const std::string& text) {
  mock_kms::v1::CallRecord record;
  *record.mutable_at() = to_timestamp(start + std::chrono::duration_cast<WallTime::duration>(after));
  record.set_event(text);
  return record;
}

/// "name FROM-TO" of each fault's span, in seconds; "+" if it is not over.
std::string faults_after(const std::vector<mock_kms::v1::CallRecord>& journal,
                         const std::vector<Event>& events = served) {
  Evidence evidence;
  PodEvidence& pod = evidence.pods.emplace_back();
  pod.events = events;
  pod.events.push_back(event(mock_kms::v1::SLOW, 100s, ""));
  pod.journal = journal;
  const auto report = merge(evidence);
  std::string text;
  for (const auto& span : report.plugins(0).faults())
    text += span.kind() + " " + std::to_string((from_proto(span.from()) - start) / 1s) + "-" +
            std::to_string((from_proto(span.to()) - start) / 1s) + (span.open() ? "+ " : " ");
  return text;
}

}  // namespace

TEST_CASE("a key that only the last process named is that of the beginning, unless a change was reported") {
  Evidence evidence;
  PodEvidence& pod = evidence.pods.emplace_back();
  pod.events = served;
  pod.status.emplace().mutable_answer()->set_key_id("v1");
  *pod.status->mutable_answer()->mutable_key_id_since() = to_timestamp(start + 50s);
  pod.events.push_back(event(mock_kms::v1::SLOW, 60s, ""));
  const auto report = merge(evidence);
  REQUIRE(report.plugins(0).keys_size() == 1);
  CHECK(from_proto(report.plugins(0).keys(0).from()) == start);
}

TEST_CASE("a fault ends by its time, by a command or with its scenario") {
  CHECK(faults_after({change(2s, "fault a is set: {}"), change(4s, "fault a is over after 2s")}) == "a 2-4 ");
  CHECK(faults_after({change(2s, "fault a is set: {}"), change(3s, "fault b is set: {}"),
                      change(4s, "fault a is cleared")}) == "a 2-4 b 3-100+ ");
  CHECK(faults_after({change(2s, "fault a is set: {}"), change(9s, "fault a is over after 1s")}) == "a 2-3 ");
  const auto sets = change(2s, "scenario s, step 1: sets fault of-scenario {\"hang\":{}}");
  CHECK(faults_after({sets, change(3s, "fault a is set: {}"),
                      change(4s, "all faults by command are cleared")}) == "a 3-4 of-scenario 2-100+ ");
  CHECK(faults_after({sets, change(5s, "scenario s is stopped")}) == "of-scenario 2-5 ");
  CHECK(faults_after({sets, change(5s, "scenario s ends its faults")}) == "of-scenario 2-5 ");
  CHECK(faults_after({sets, change(5s, "scenario t begins")}) == "of-scenario 2-5 ");
}

TEST_CASE("the end of a standby ends no fault, that of the active process does") {
  const auto with = [](std::vector<Event> more) { return after_serving(std::move(more)); };
  const std::vector<mock_kms::v1::CallRecord> journal{change(2s, "fault a is set: {}")};
  CHECK(faults_after(journal, with({event(mock_kms::v1::ENDED, 5s, "the plugin ended", {{"pid", "7"}})})) ==
        "a 2-100+ ");
  CHECK(faults_after(journal, with({event(mock_kms::v1::ENDED, 5s, "the plugin ended", {{"pid", "1"}})})) ==
        "a 2-5 ");
}

TEST_CASE("a fault whose end was not recorded does not last until the end") {
  Evidence evidence;
  PodEvidence& pod = evidence.pods.emplace_back();
  pod.events = served;
  pod.journal = {change(2s, "fault a is set: {}")};
  pod.status.emplace();
  const auto report = merge(evidence);
  REQUIRE(report.plugins(0).faults_size() == 1);
  CHECK_FALSE(report.plugins(0).faults(0).open());
  CHECK(report.plugins(0).faults(0).text().ends_with("its end was not recorded"));
}

TEST_CASE("the verdict names what else kept API servers from working") {
  Evidence evidence;
  PodEvidence& pod = evidence.pods.emplace_back();
  pod.node = "a";
  pod.pod = "p";
  pod.events = after_serving({event(mock_kms::v1::UNHEALTHY, 10s, "the plugin answers, but healthz is bad"),
                              event(mock_kms::v1::HEALTHY, 610s, "the plugin is healthy again")});
  pod.status.emplace().set_healthy(true);
  const auto report = merge(evidence);
  CHECK(report.severity() == mock_kms::v1::Report::WARNING);
  CHECK(report.verdict().find("; unhealthy for 10m 00s; the API server's lease ran out on a;") !=
        std::string::npos);
}

TEST_CASE("a report without evidence of outages does not claim that all is good") {
  Evidence evidence;
  PodEvidence& pod = evidence.pods.emplace_back();
  pod.status.emplace().set_healthy(true);
  evidence.problems.emplace_back().set_text("is missing");
  const auto report = merge(evidence);
  CHECK(report.severity() == mock_kms::v1::Report::WARNING);
  CHECK(report.verdict().find("1 file of the evidence is missing or damaged") != std::string::npos);
}

TEST_CASE("instances are compared with the same instance of other nodes, and are known by their events") {
  Evidence evidence;
  for (const std::string node : {"a", "b"}) {
    PodEvidence& pod = evidence.pods.emplace_back();
    pod.node = node;
    for (unsigned instance : {1U, 2U}) {
      for (Event one : served) {
        one.set_instance(instance);
        pod.events.push_back(one);
      }
    }
  }
  const auto report = merge(evidence);
  CHECK(report.plugins_size() == 4);
  CHECK(report.plugins(1).name() == "a [2]");
  CHECK(report.timeline_size() == 8);
  for (PodEvidence& pod : evidence.pods) {
    for (unsigned instance : {1U, 2U}) {
      if (!pod.status) pod.status.emplace();
      auto& status = *pod.status->add_instances();
      status.set_instance(instance);
      status.mutable_answer()->set_key_id("key-of-" + std::to_string(instance));
    }
  }
  CHECK_FALSE(merge(evidence).differences(0).differs());
  evidence.pods[1].status->mutable_instances(0)->mutable_answer()->set_key_id("another");
  CHECK(merge(evidence).differences(0).differs());
}

TEST_CASE("a text with a placeholder of the page stays a text") {
  Evidence evidence;
  PodEvidence& pod = evidence.pods.emplace_back();
  pod.status.emplace().set_reason("{{BODY}} {{DEFS}}");
  const std::string html = page(merge(evidence));
  CHECK(html.find("</html>") == html.rfind("</html>"));
  CHECK(html.find("<main") == html.rfind("<main"));
}

TEST_CASE("a clock that was set back, and impossible times, are named") {
  Evidence evidence;
  PodEvidence& pod = evidence.pods.emplace_back();
  pod.events = after_serving({event(mock_kms::v1::SLOW, 7200s, ""), event(mock_kms::v1::SLOW, 3600s, "")});
  pod.events.push_back(event(mock_kms::v1::SLOW, 0s, ""));
  pod.events.back().mutable_at()->set_seconds(0);
  const auto report = merge(evidence);
  REQUIRE(report.problems_size() == 2);
  CHECK(report.problems(0).text() == "1 entry has an impossible time and is left out");
  CHECK(report.problems(1).text().starts_with("the node's clock was set back by 1h"));
}

TEST_CASE("counters that are no numbers are left out") {
  PodEvidence pod;
  read_metrics(
      "kms_supervisor_ends_total{cause=\"a\"} NaN\nkms_supervisor_ends_total{cause=\"b\"} +Inf\n"
      "kms_supervisor_ends_total{cause=\"c\"} 2\n",
      pod);
  CHECK(pod.ends == std::map<std::string, double>{{"c", 2.0}});
}
