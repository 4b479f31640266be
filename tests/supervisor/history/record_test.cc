#include "supervisor/history/record.h"

#include <doctest/doctest.h>

#include <csignal>

namespace kms::supervisor {
namespace {

using namespace std::chrono_literals;

/// The record of the only instance, and everything that it reports to.
struct Recorded {
  /// Process 7 served, and something ended it.
  void killed(int signal, Time now) {
    ProcessEnd process{7, process::ExitStatus::from_wait(signal)};
    process.answered = true;
    record.ended({1, EndCause::exited, 5s, Duration{0}}, process, true, now);
  }

  /// Process 8 is ready.
  void ready(Time now) { record.ready(8, 40ms, "handed down", true, now); }

  /// The events of a kind.
  [[nodiscard]] std::vector<mock_kms::v1::Event> events(mock_kms::v1::EventKind kind) const {
    mock_kms::v1::EventPage page;
    history.read(0, 0, page);
    std::vector<mock_kms::v1::Event> found;
    std::copy_if(page.events().begin(), page.events().end(), std::back_inserter(found),
                 [kind](const auto& event) { return event.kind() == kind; });
    return found;
  }

  /// Process `pid`, the active one if `active`, answers with this key_id.
  void answers(pid_t pid, Health& health, const std::string& key_id, bool active = true) {
    ProbeAnswer answer;
    answer.status.set_version("v2");
    answer.status.set_healthz("ok");
    answer.status.set_key_id(key_id);
    record.probed(pid, health, {1, answer}, active, Time(1s));
  }

  Policy policy;
  History history;
  Metrics metrics;
  OomKills oom_kills{"/nowhere"};
  Record record{0, policy, history, metrics, oom_kills};
};

}  // namespace

TEST_CASE("an outage lasts from the death to the next answer") {
  Recorded recorded;
  recorded.killed(SIGSEGV, Time(10s));
  recorded.record.entered(BackingOff{});
  recorded.ready(Time(13s));
  const auto over = recorded.events(mock_kms::v1::OUTAGE_OVER);
  REQUIRE(over.size() == 1);
  CHECK(over[0].pid() == 8);
  CHECK(over[0].details().at("outage-of") == "7");
  CHECK(over[0].details().at("cause") == "it crashed");
  CHECK(over[0].details().at("outage") == "3.0 s");
  recorded.ready(Time(14s));
  CHECK(recorded.events(mock_kms::v1::OUTAGE_OVER).size() == 1);
}

TEST_CASE("a pause ends an outage that nobody waits for any more") {
  Recorded recorded;
  recorded.killed(SIGSEGV, Time(10s));
  recorded.record.entered(Paused{});
  recorded.record.entered(Starting{});
  recorded.ready(Time(1h));
  CHECK(recorded.events(mock_kms::v1::OUTAGE_OVER).empty());
}

TEST_CASE("each change of the key_id is an event, across processes too, and a step back is named") {
  Recorded recorded;
  Health first(0s), second(0s);
  recorded.answers(7, first, "v6");
  CHECK(recorded.events(mock_kms::v1::KEY_CHANGED).empty());
  recorded.answers(7, first, "v7");
  recorded.answers(8, second, "v6");
  recorded.answers(8, second, "v6");
  recorded.answers(8, second, "v6");
  const auto changes = recorded.events(mock_kms::v1::KEY_CHANGED);
  REQUIRE(changes.size() == 2);
  CHECK(changes[0].text() == "the plugin names another key");
  CHECK(changes[0].details().at("to") == "v7");
  CHECK(changes[1].text().find("went back to an earlier key when it was restarted, against rule 15") !=
        std::string::npos);
  CHECK(changes[1].details().at("from") == "v7");
  CHECK(changes[1].details().at("to") == "v6");
}

TEST_CASE("a step back is reported though no process lives for two answers") {
  Recorded recorded;
  Health first(0s), second(0s), third(0s);
  recorded.answers(7, first, "v50");
  recorded.answers(8, second, "v1");
  CHECK(recorded.events(mock_kms::v1::KEY_CHANGED).empty());
  recorded.answers(9, third, "v1");
  REQUIRE(recorded.events(mock_kms::v1::KEY_CHANGED).size() == 1);
  CHECK(recorded.events(mock_kms::v1::KEY_CHANGED)[0].details().at("to") == "v1");
}

TEST_CASE("one late answer of each of two processes that take over is no change of the key") {
  Recorded recorded;
  Health first(0s), second(0s), third(0s);
  recorded.answers(7, first, "v2");
  recorded.answers(8, second, "v1");
  recorded.answers(8, second, "v2");
  recorded.answers(9, third, "v1");
  recorded.answers(9, third, "v2");
  CHECK(recorded.events(mock_kms::v1::KEY_CHANGED).empty());
}

TEST_CASE("a rotation to a key that was lost names the next step") {
  Recorded recorded;
  Health first(0s), second(0s);
  recorded.answers(7, first, "v1");
  recorded.answers(7, first, "v2");
  recorded.answers(8, second, "v1");
  recorded.answers(8, second, "v1");
  recorded.answers(8, second, "v2");
  const auto changes = recorded.events(mock_kms::v1::KEY_CHANGED);
  REQUIRE(changes.size() == 3);
  CHECK(changes[2].text().find("against rule 15; rotate to one that was never current") != std::string::npos);
}

TEST_CASE("a standby that has not yet read the stored version makes no event") {
  Recorded recorded;
  Health active(0s), standby(0s);
  recorded.answers(7, active, "v1");
  recorded.answers(8, standby, "v1", false);
  recorded.answers(7, active, "v2");
  recorded.answers(8, standby, "v1");  // it has taken over, and this answer is from before
  recorded.answers(8, standby, "v2");
  CHECK(recorded.events(mock_kms::v1::KEY_CHANGED).size() == 1);
}

}  // namespace kms::supervisor
