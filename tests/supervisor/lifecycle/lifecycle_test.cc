#include <doctest/doctest.h>

#include <csignal>
#include <random>

#include "lifecycle_bench.h"

namespace kms::supervisor {
TEST_CASE("it launches and probes at once, and the first good answer makes it ready") {
  Bench bench;
  const Actions actions = bench.pass(0s);
  CHECK(all<Launch>(actions).size() == 1);
  REQUIRE(all<StartProbe>(actions).size() == 1);
  CHECK(all<StartProbe>(actions)[0].timeout == 1s);
  bench.now += 40ms;
  const Actions ready = bench.send(Answered{1, true});
  REQUIRE(all<ReportReady>(ready).size() == 1);
  CHECK(all<ReportReady>(ready)[0].after == 40ms);
  CHECK(is<Serving>(bench));
}

TEST_CASE("a serving plugin is probed once per interval, counted from one start to the next") {
  Bench bench;
  bench.serve();
  bench.now += 300ms;
  CHECK(all<StartProbe>(bench.pass(699ms)).empty());
  CHECK(all<StartProbe>(bench.pass(1ms)).size() == 1);
  CHECK(bench.lifecycle.next_deadline() == std::nullopt);  // one probe at a time
}

TEST_CASE("a death is followed by a start at once, a second one by a back-off") {
  Bench bench;
  bench.serve();
  const Actions first = bench.send(Exited{1, killed_by_kill});
  REQUIRE(all<Launch>(first).size() == 1);
  CHECK(all<Launch>(first)[0].generation == 2);
  REQUIRE(all<ReportEnd>(first).size() == 1);
  CHECK(all<ReportEnd>(first)[0].cause == EndCause::exited);
  const Actions second = bench.send(Exited{2, killed_by_kill});
  CHECK(all<Launch>(second).empty());
  CHECK(is<BackingOff>(bench));
  CHECK(all<Launch>(bench.pass(100ms)).size() == 1);
}

TEST_CASE(
    "a loop of instant deaths for ten minutes tries at least every ten seconds and never faster than it "
    "may") {
  Bench bench;
  unsigned launches = 0;
  const Time end = bench.now + 10min;
  while (bench.now < end) {
    launches += static_cast<unsigned>(all<Launch>(bench.pass(1ms)).size());
    if (is<Starting>(bench)) {
      const Actions actions = bench.send(Exited{bench.lifecycle.generation(), killed_by_kill});
      launches += static_cast<unsigned>(all<Launch>(actions).size());
    }
  }
  CHECK(launches >= 60);
  CHECK(launches <= 130);
}

TEST_CASE(
    "a plugin that leaves as many probes unanswered as allowed is ended by TERM, then by KILL, and "
    "restarted") {
  Bench bench;
  bench.serve();
  for (int probe = 1; probe <= 3; ++probe) {
    CAPTURE(probe);
    CHECK(is<Serving>(bench));
    REQUIRE(all<StartProbe>(bench.pass(1s)).size() == 1);
    bench.now += 1s;
    const Actions actions = bench.send(ProbeFailed{1});
    CHECK(all<SendSignal>(actions).size() == (probe == 3 ? 1U : 0U));
  }
  CHECK(is<Ending>(bench));
  CHECK(all<SendSignal>(bench.pass(499ms)).empty());
  const Actions kill = bench.pass(1ms);
  REQUIRE(all<SendSignal>(kill).size() == 1);
  CHECK(all<SendSignal>(kill)[0].signal == SIGKILL);
  const Actions end = bench.send(Exited{1, killed_by_kill});
  CHECK(all<ReportEnd>(end)[0].cause == EndCause::unresponsive);
  CHECK(all<Launch>(end).size() == 1);
}

TEST_CASE("an answer between unanswered probes starts the count anew") {
  Bench bench;
  bench.serve();
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 2; ++i) {
      (void)bench.pass(1s);
      (void)bench.send(ProbeFailed{1});
    }
    (void)bench.pass(1s);
    (void)bench.send(Answered{1, false});
  }
  CHECK(is<Serving>(bench));
}

TEST_CASE("a plugin that answers badly from its start is alive and never restarted") {
  Bench bench;
  bench.start();
  for (int i = 0; i < 100000; ++i) {
    CHECK(all<SendSignal>(bench.send(Answered{1, false})).empty());
    CHECK(all<SendSignal>(bench.pass(10ms)).empty());
  }
  CHECK(is<Starting>(bench));
  CHECK(all<ReportReady>(bench.send(Answered{1, true})).size() == 1);
}

TEST_CASE("a plugin that never answers is ended when its start-up time is over") {
  Bench bench;
  bench.start();
  Actions actions;
  for (int i = 0; i < 29; ++i) {
    bench.now += 1s;
    (void)bench.send(ProbeFailed{1});
    actions = bench.pass(0s);
    CHECK(all<SendSignal>(actions).empty());
  }
  actions = bench.pass(1s);
  REQUIRE(all<SendSignal>(actions).size() == 1);
  CHECK(all<SendSignal>(actions)[0].signal == SIGTERM);
  CHECK(all<ReportEnding>(actions)[0].cause == EndCause::never_ready);
  actions = bench.pass(500ms);
  REQUIRE(all<SendSignal>(actions).size() == 1);
  CHECK(all<SendSignal>(actions)[0].signal == SIGKILL);
}

TEST_CASE("a command that cannot be started the first time ends the supervisor, later it is tried again") {
  Bench first;
  first.start();
  const Actions ends = first.send(LaunchFailed{1, "no such file"});
  REQUIRE(all<Finish>(ends).size() == 1);
  CHECK_FALSE(all<Finish>(ends)[0].clean);
  Bench later;
  later.serve();
  (void)later.send(Exited{1, killed_by_kill});
  CHECK(all<Finish>(later.send(LaunchFailed{2, "no such file"})).empty());
  CHECK(is<BackingOff>(later));
}

TEST_CASE("a stop forwards its signal, waits, kills, and ends in every state") {
  Bench serving;
  serving.serve();
  const Actions stop = serving.send(StopRequested{SIGINT});
  REQUIRE(all<SendSignal>(stop).size() == 1);
  CHECK(all<SendSignal>(stop)[0].signal == SIGINT);
  CHECK(all<SendSignal>(serving.pass(9999ms)).empty());
  CHECK(all<SendSignal>(serving.pass(1ms))[0].signal == SIGKILL);
  const Actions end = serving.send(Exited{1, killed_by_kill});
  CHECK_FALSE(all<Finish>(end)[0].clean);
  CHECK(all<ReportEnd>(end)[0].restart_in == std::nullopt);

  Bench starting;
  starting.start();
  (void)starting.send(StopRequested{SIGTERM});
  CHECK(all<Finish>(starting.send(Exited{1, process::ExitStatus::from_wait(0)}))[0].clean);

  Bench backing_off;
  backing_off.serve();
  (void)backing_off.send(Exited{1, killed_by_kill});
  (void)backing_off.send(Exited{2, killed_by_kill});
  REQUIRE(is<BackingOff>(backing_off));
  CHECK(all<Finish>(backing_off.send(StopRequested{SIGTERM}))[0].clean);
  CHECK(backing_off.pass(1h).empty());
}

TEST_CASE("a second stop does not wait for the grace") {
  Bench bench;
  bench.serve();
  (void)bench.send(StopRequested{SIGTERM});
  CHECK(all<SendSignal>(bench.send(StopRequested{SIGTERM}))[0].signal == SIGKILL);
}

TEST_CASE("more deaths than allowed within the window end the supervisor, as many do not") {
  Policy policy;
  policy.max_restarts = 3;
  policy.max_restarts_window = 1min;
  Bench often(policy);
  often.serve();
  for (Generation death = 1; death <= 3; ++death) {
    CHECK(all<Finish>(often.send(Exited{death, killed_by_kill})).empty());
    (void)often.pass(1s);
  }
  const Actions end = often.send(Exited{4, killed_by_kill});
  REQUIRE(all<Finish>(end).size() == 1);
  CHECK_FALSE(all<Finish>(end)[0].clean);
  CHECK(all<Launch>(end).empty());

  Bench seldom(policy);
  seldom.serve();
  for (Generation death = 1; death <= 50; ++death) {
    CHECK(all<Finish>(seldom.send(Exited{death, killed_by_kill})).empty());
    for (int i = 0; i < 20; ++i) {  // a minute in which it serves
      (void)seldom.pass(1s);
      (void)seldom.send(Answered{death + 1, true});
    }
  }
}

TEST_CASE("events of an earlier process are ignored") {
  Bench bench;
  bench.serve();
  (void)bench.send(Exited{1, killed_by_kill});
  REQUIRE(bench.lifecycle.generation() == 2);
  CHECK(bench.send(Answered{1, true}).empty());
  CHECK(bench.send(Exited{1, killed_by_kill}).empty());
  CHECK(is<Starting>(bench));
}

TEST_CASE("two million random events never break an invariant") {
  for (unsigned run = 0; run < 2000; ++run) {
    const unsigned seed = 20261122 + run;
    CAPTURE(seed);
    CAPTURE(run);
    std::mt19937 random(seed);
    Bench bench;
    bool alive = false;
    bool finished = false;
    bool stop_asked = false;
    Generation launched = 0;
    for (int step = 0; step < 1000; ++step) {
      const Generation current = bench.lifecycle.generation();
      // Mostly news of the current process, sometimes late news of the one before.
      const Generation about = random() % 8 == 0 && current > 0 ? current - 1 : current;
      Actions actions;
      switch (random() % 8) {
        case 0:
          if (alive && about == current) {
            alive = false;
            actions = bench.send(Exited{about, killed_by_kill});
          } else if (about < current) {
            actions = bench.send(Exited{about, killed_by_kill});
          }
          break;
        case 1:
          actions = bench.send(Answered{about, random() % 4 != 0});
          break;
        case 2:
          actions = bench.send(ProbeFailed{about});
          break;
        case 3:
          if (random() % 100 == 0) {
            actions = bench.send(StopRequested{SIGTERM});
            stop_asked = true;
          }
          break;
        default:
          actions = bench.pass(std::chrono::milliseconds(random() % 3000));
      }
      for (const Action& action : actions) {
        REQUIRE_FALSE(finished);  // nothing follows the end
        if (const auto* launch = std::get_if<Launch>(&action)) {
          REQUIRE_FALSE(alive);  // never two at once, never a start without an end
          REQUIRE_FALSE(stop_asked);
          REQUIRE(launch->generation == launched + 1);
          launched = launch->generation;
          alive = true;
        } else if (const auto* signal = std::get_if<SendSignal>(&action)) {
          REQUIRE(alive);
          REQUIRE(signal->generation == launched);
        } else if (std::holds_alternative<Finish>(action)) {
          REQUIRE_FALSE(alive);
          finished = true;
        }
      }
    }
    // A stop always ends: within the grace the process is killed, and its end is the supervisor's.
    if (!finished) {
      Actions actions = bench.send(StopRequested{SIGTERM});
      const Actions later = bench.pass(10s);
      actions.insert(actions.end(), later.begin(), later.end());
      if (alive) actions = bench.send(Exited{bench.lifecycle.generation(), killed_by_kill});
      REQUIRE(all<Finish>(actions).size() == 1);
    }
  }
}

TEST_CASE("bad answers in a row end the plugin only if that was requested") {
  for (const bool asked : {false, true}) {
    CAPTURE(asked);
    Policy policy;
    policy.restart_on_unhealthy = asked;
    Bench bench(policy);
    bench.serve();
    for (int i = 0; i < 2; ++i) CHECK(all<ReportEnding>(bench.send(Answered{1, false})).empty());
    (void)bench.send(Answered{1, true});  // a good one starts the row anew
    for (int i = 0; i < 2; ++i) CHECK(all<ReportEnding>(bench.send(Answered{1, false})).empty());
    const auto given_up = all<ReportEnding>(bench.send(Answered{1, false}));
    CHECK(given_up.size() == (asked ? 1 : 0));
    CHECK(is<Ending>(bench) == asked);
    if (asked) CHECK(given_up[0].cause == EndCause::unhealthy);
  }
}

TEST_CASE(
    "a plugin that answers badly from its start on is ended at the start-up time-out if that was requested") {
  Policy policy;
  policy.restart_on_unhealthy = true;
  Bench bench(policy);
  bench.start();
  (void)bench.send(Answered{1, false});
  const auto given_up = all<ReportEnding>(bench.pass(policy.startup_timeout));
  REQUIRE(given_up.size() == 1);
  CHECK(given_up[0].cause == EndCause::unhealthy);
}

}  // namespace kms::supervisor
