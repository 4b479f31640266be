// Planned restarts, standbys and pauses: more than one process at a time.
#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>

#include "lifecycle_bench.h"

namespace kms::supervisor {

TEST_CASE("a planned restart starts the new process first, and the old one goes when the new one is ready") {
  Bench bench;
  bench.lifecycle.allow_overlap(true);
  bench.serve();
  const Actions asked = bench.send(RestartRequested{});
  REQUIRE(all<Launch>(asked).size() == 1);
  CHECK(all<Activate>(asked).empty());
  CHECK(all<SendSignal>(asked).empty());
  const Actions ready = bench.send(Answered{2, true});
  REQUIRE(all<SendSignal>(ready).size() == 1);
  CHECK(all<SendSignal>(ready)[0].generation == 1);
  CHECK(all<SendSignal>(ready)[0].signal == SIGTERM);
  CHECK(all<Activate>(ready)[0].generation == 2);
  CHECK(all<ReportRestart>(ready)[0].problem.empty());
  CHECK(bench.lifecycle.generation() == 2);
  const Actions gone = bench.send(Exited{1, killed_by_kill});
  CHECK(all<ReportEnd>(gone)[0].cause == EndCause::replaced);
  CHECK(all<Launch>(gone).empty());
}

TEST_CASE("a planned restart probes the old process once more at once, for a rotation that ends with it") {
  Bench bench;
  bench.lifecycle.allow_overlap(true);
  bench.serve();
  (void)bench.pass(10ms);
  (void)bench.send(RestartRequested{});
  const auto probes = all<StartProbe>(bench.pass(0ms));
  CHECK(std::count_if(probes.begin(), probes.end(),
                      [](const StartProbe& probe) { return probe.generation == 1; }) == 1);
}

TEST_CASE("an old process that does not go is killed after the stop grace") {
  Bench bench;
  bench.lifecycle.allow_overlap(true);
  bench.serve();
  (void)bench.send(RestartRequested{});
  (void)bench.send(Answered{2, true});
  const Actions later = bench.pass(10s);
  REQUIRE(all<SendSignal>(later).size() == 1);
  CHECK(all<SendSignal>(later)[0].generation == 1);
  CHECK(all<SendSignal>(later)[0].signal == SIGKILL);
}

TEST_CASE("an old process that is unresponsive when it is replaced is killed after the hang grace") {
  Bench bench;
  bench.lifecycle.allow_overlap(true);
  bench.serve();
  (void)bench.pass(1s);
  (void)bench.send(ProbeFailed{1});
  (void)bench.send(RestartRequested{});
  (void)bench.send(Answered{2, true});
  const Actions later = bench.pass(500ms);
  REQUIRE(all<SendSignal>(later).size() == 1);
  CHECK(all<SendSignal>(later)[0].generation == 1);
  CHECK(all<SendSignal>(later)[0].signal == SIGKILL);

  Bench one_after_the_other;
  one_after_the_other.serve();
  (void)one_after_the_other.pass(1s);
  (void)one_after_the_other.send(ProbeFailed{1});
  (void)one_after_the_other.send(RestartRequested{});
  CHECK(all<SendSignal>(one_after_the_other.pass(500ms))[0].signal == SIGKILL);
}

TEST_CASE("a new process that dies or never gets ready leaves the old one alone") {
  Bench dies;
  dies.lifecycle.allow_overlap(true);
  dies.serve();
  (void)dies.send(RestartRequested{});
  const Actions end = dies.send(Exited{2, process::ExitStatus::from_wait(3 << 8)});
  CHECK(all<ReportRestart>(end)[0].problem == "the new process exited with code 3; the old one stays");
  CHECK(is<Serving>(dies));
  CHECK(dies.lifecycle.generation() == 1);

  Bench mute;
  mute.lifecycle.allow_overlap(true);
  mute.serve();
  (void)mute.send(RestartRequested{});
  const Actions late = mute.pass(30s);
  REQUIRE(all<ReportRestart>(late).size() == 1);
  CHECK(all<ReportRestart>(late)[0].problem.find("did not get ready in time") != std::string::npos);
  CHECK(all<SendSignal>(late)[0].generation == 2);
  CHECK(mute.lifecycle.generation() == 1);
}

TEST_CASE("a new process that answers badly does not take over, and is given up in time") {
  Bench bench;
  bench.lifecycle.allow_overlap(true);
  bench.serve();
  (void)bench.send(RestartRequested{});
  CHECK(all<Activate>(bench.send(Answered{2, false})).empty());
  const Actions late = bench.pass(30s);
  REQUIRE(all<ReportRestart>(late).size() == 1);
  CHECK(all<ReportRestart>(late)[0].problem ==
        "the new process did not get ready in time; the old one stays");
  CHECK(bench.lifecycle.generation() == 1);
}

TEST_CASE("restarts requested during another one begin anew after it, and all are answered together") {
  Bench bench;
  bench.lifecycle.allow_overlap(true);
  bench.serve();
  (void)bench.send(RestartRequested{});
  for (int i = 0; i < 3; ++i) CHECK(bench.send(RestartRequested{}).empty());
  const Actions first = bench.send(Answered{2, true});
  CHECK(bench.lifecycle.generation() == 2);
  CHECK(all<ReportRestart>(first).empty());
  REQUIRE(all<Launch>(first).size() == 1);
  const Actions second = bench.send(Answered{3, true});
  REQUIRE(all<ReportRestart>(second).size() == 1);
  CHECK(all<ReportRestart>(second)[0].problem.empty());
  CHECK(all<Launch>(second).empty());
  CHECK(bench.lifecycle.generation() == 3);
}

TEST_CASE("a restart requested during a failing one is tried all the same") {
  Bench bench;
  bench.lifecycle.allow_overlap(true);
  bench.serve();
  (void)bench.send(RestartRequested{});
  (void)bench.send(RestartRequested{});
  const Actions failed = bench.send(Exited{2, process::ExitStatus::from_wait(3 << 8)});
  CHECK(all<ReportRestart>(failed).empty());
  CHECK(all<Launch>(failed)[0].generation == 3);
  CHECK(all<ReportRestart>(bench.send(Answered{3, true}))[0].problem.empty());
}

TEST_CASE("a process that follows a death is launched after all requests, and stays") {
  Bench bench;
  bench.lifecycle.allow_overlap(true);
  bench.serve();
  (void)bench.send(RestartRequested{});
  (void)bench.send(RestartRequested{});
  (void)bench.send(Exited{1, killed_by_kill});
  REQUIRE(bench.lifecycle.generation() == 2);
  (void)bench.send(Exited{2, killed_by_kill});
  (void)bench.pass(100ms);
  REQUIRE(bench.lifecycle.generation() == 3);
  const Actions ready = bench.send(Answered{3, true});
  CHECK(all<ReportRestart>(ready)[0].problem.empty());
  CHECK(all<Launch>(ready).empty());
}

TEST_CASE("a pause or a stop answers a restart that is under way") {
  for (const Event& event : {Event(PauseRequested{}), Event(StopRequested{SIGTERM})}) {
    Bench bench;
    bench.lifecycle.allow_overlap(true);
    bench.serve();
    (void)bench.send(RestartRequested{});
    (void)bench.send(RestartRequested{});
    const Actions asked = bench.send(event);
    REQUIRE(all<ReportRestart>(asked).size() == 1);
    CHECK(all<ReportRestart>(asked)[0].problem == "the plugin is being stopped");
    (void)bench.send(Exited{2, killed_by_kill});
    (void)bench.send(Exited{1, killed_by_kill});
    (void)bench.send(ResumeRequested{});
    CHECK(all<ReportRestart>(bench.send(Answered{3, true})).empty());
  }
}

TEST_CASE("if two cannot be alive at once, a planned restart is one after the other, without a back-off") {
  Bench bench;
  bench.serve();
  const Actions asked = bench.send(RestartRequested{});
  CHECK(all<Launch>(asked).empty());
  CHECK(all<SendSignal>(asked)[0].signal == SIGTERM);
  const Actions gone = bench.send(Exited{1, killed_by_kill});
  CHECK(all<Launch>(gone).size() == 1);
  CHECK(all<ReportEnd>(gone)[0].cause == EndCause::replaced);
  CHECK(all<ReportRestart>(bench.send(Answered{2, true}))[0].problem.empty());
}

namespace {

Bench with_standby() {
  Policy policy;
  policy.standby = true;
  policy.restart_delay.stable_after = 30s;
  Bench bench(policy);
  bench.lifecycle.allow_overlap(true);
  bench.serve();
  (void)bench.pass(0s);
  (void)bench.send(Answered{2, true});
  REQUIRE(bench.lifecycle.successor());
  REQUIRE(bench.lifecycle.successor()->ready_since);
  return bench;
}

}  // namespace

TEST_CASE("a standby takes over a death at once and is refilled when the clients have come back") {
  Bench bench = with_standby();
  const Actions death = bench.send(Exited{1, killed_by_kill});
  CHECK(all<Activate>(death)[0].generation == 2);
  CHECK(all<Launch>(death).empty());
  CHECK(is<Serving>(bench));
  CHECK(all<Launch>(bench.pass(0s)).empty());
  CHECK(all<Launch>(bench.pass(100ms))[0].generation == 3);
}

TEST_CASE("a standby takes over a hang at its detection, and the hung process is killed without a grace") {
  Bench bench = with_standby();
  Actions end;
  for (int i = 0; i < 3; ++i) {
    (void)bench.pass(1s);
    (void)bench.send(Answered{2, true});
    end = bench.send(ProbeFailed{1});
  }
  REQUIRE(all<SendSignal>(end).size() == 1);
  CHECK(all<SendSignal>(end)[0].signal == SIGKILL);
  CHECK(all<SendSignal>(end)[0].generation == 1);
  CHECK(all<Activate>(end)[0].generation == 2);
}

TEST_CASE("deaths in a row that standbys make good hold up the next standby as a back-off would") {
  Bench bench = with_standby();
  (void)bench.send(Exited{1, killed_by_kill});
  REQUIRE(all<Launch>(bench.pass(100ms)).size() == 1);
  (void)bench.send(Answered{3, true});
  unsigned launches = 0;
  for (Generation death = 2; death <= 20; ++death) {
    CHECK(all<Activate>(bench.send(Exited{death, killed_by_kill})).size() == 1);
    CHECK(is<Serving>(bench));
    const Time before = bench.now;
    while (all<Launch>(bench.pass(10ms)).empty()) {
      REQUIRE(bench.now - before <= 10s + 10ms);
    }
    if (death > 12) CHECK(bench.now - before >= 5s);
    (void)bench.send(Answered{death + 2, true});
    ++launches;
  }
  CHECK(launches == 19);
}

TEST_CASE("the wait of a standby is no service: one that dies right after its take-over backs off") {
  Bench bench = with_standby();
  (void)bench.pass(40s);
  CHECK(all<Activate>(bench.send(Exited{1, killed_by_kill}))[0].generation == 2);
  CHECK(all<Launch>(bench.send(Exited{2, killed_by_kill})).empty());
  CHECK(is<BackingOff>(bench));
}

TEST_CASE("a standby that served long enough since its take-over is forgiven") {
  Bench bench = with_standby();
  const auto die = [&](Generation generation) {
    CHECK(all<Activate>(bench.send(Exited{generation, killed_by_kill})).size() == 1);
    return all<Launch>(bench.pass(100ms)).size();
  };
  for (Generation death = 1; death <= 6; ++death) {
    if (die(death) == 0) (void)bench.pass(10s);
    (void)bench.send(Answered{death + 2, true});
  }
  CHECK(die(7) == 0);
  (void)bench.pass(30s);
  (void)bench.send(Answered{9, true});
  CHECK(die(8) == 1);
}

TEST_CASE("deaths and hangs that a standby makes good count for the limit of restarts") {
  Policy policy;
  policy.standby = true;
  policy.max_restarts = 2;
  for (const bool hangs : {false, true}) {
    CAPTURE(hangs);
    Bench bench(policy);
    bench.lifecycle.allow_overlap(true);
    bench.serve();
    (void)bench.pass(0s);
    (void)bench.send(Answered{2, true});
    const auto end = [&](Generation generation) {
      Actions actions;
      if (!hangs) return bench.send(Exited{generation, killed_by_kill});
      for (int i = 0; i < 3; ++i) {
        (void)bench.pass(1s);
        actions = bench.send(ProbeFailed{generation});
      }
      return actions;
    };
    for (Generation generation = 1; generation <= 2; ++generation) {
      CHECK(all<Activate>(end(generation))[0].generation == generation + 1);
      if (hangs) (void)bench.send(Exited{generation, killed_by_kill});
      (void)bench.pass(200ms);
      (void)bench.send(Answered{generation + 2, true});
      REQUIRE(bench.lifecycle.successor());
      REQUIRE(bench.lifecycle.successor()->ready_since);
    }
    const Actions last = end(3);
    CHECK(all<Activate>(last).empty());
    if (hangs)
      CHECK(all<ReportEnd>(bench.send(Exited{3, killed_by_kill}))[0].cause == EndCause::unresponsive);
    const Actions gone = bench.send(Exited{4, killed_by_kill});
    REQUIRE(all<Finish>(gone).size() == 1);
    CHECK_FALSE(all<Finish>(gone)[0].clean);
  }
}

TEST_CASE("a standby that dies is started again after a back-off of its own") {
  Bench bench = with_standby();
  CHECK(all<ReportEnd>(bench.send(Exited{2, killed_by_kill})).size() == 1);
  CHECK(all<Launch>(bench.pass(0s)).size() == 1);
  (void)bench.send(Exited{3, killed_by_kill});
  CHECK(all<Launch>(bench.pass(0s)).empty());
  CHECK(all<Launch>(bench.pass(100ms)).size() == 1);
  CHECK(bench.lifecycle.generation() == 1);
}

TEST_CASE("a planned restart replaces the standby too, which may be of an older binary") {
  Bench bench = with_standby();
  const Actions asked = bench.send(RestartRequested{});
  CHECK(all<SendSignal>(asked)[0].generation == 2);
  CHECK(all<Launch>(asked)[0].generation == 3);
  const Actions ready = bench.send(Answered{3, true});
  CHECK(bench.lifecycle.generation() == 3);
  CHECK(all<SendSignal>(ready)[0].generation == 1);
}

TEST_CASE("a restart requested while a standby is about to take over a hang replaces that one too") {
  Policy policy;
  policy.standby = true;
  Bench bench(policy);
  bench.lifecycle.allow_overlap(true);
  bench.serve();
  (void)bench.pass(0s);  // the standby is launched and has not answered
  for (int i = 0; i < 3; ++i) {
    (void)bench.pass(1s);
    (void)bench.send(ProbeFailed{1});
  }
  REQUIRE(is<Ending>(bench));
  (void)bench.send(RestartRequested{});
  (void)bench.send(Exited{1, killed_by_kill});
  CHECK(bench.lifecycle.generation() == 2);
  const Actions ready = bench.send(Answered{2, true});
  CHECK(all<ReportRestart>(ready).empty());
  CHECK(all<Launch>(ready)[0].generation == 3);
  CHECK(all<ReportRestart>(bench.send(Answered{3, true}))[0].problem.empty());
}

TEST_CASE("a pause ends every process and starts none until it is resumed") {
  Bench bench = with_standby();
  const Actions asked = bench.send(PauseRequested{});
  CHECK(all<SendSignal>(asked).size() == 2);
  (void)bench.send(Exited{1, killed_by_kill});
  CHECK_FALSE(is<Paused>(bench));
  (void)bench.send(Exited{2, killed_by_kill});
  CHECK(is<Paused>(bench));
  CHECK(bench.pass(1h).empty());
  CHECK(all<ReportRestart>(bench.send(RestartRequested{}))[0].problem.find("paused") != std::string::npos);
  CHECK(all<Launch>(bench.send(ResumeRequested{})).size() == 1);
}

TEST_CASE("a stop during a pause ends, and one while pausing turns it into the end") {
  Bench paused = with_standby();
  (void)paused.send(PauseRequested{});
  (void)paused.send(Exited{1, killed_by_kill});
  (void)paused.send(StopRequested{SIGTERM});
  const Actions end = paused.send(Exited{2, killed_by_kill});
  CHECK(all<Finish>(end).size() == 1);
}

}  // namespace kms::supervisor
