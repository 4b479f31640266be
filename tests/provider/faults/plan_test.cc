#include "provider/faults/plan.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "provider/faults/presets.h"

namespace kms::provider {
namespace {

using mock_kms::v1::Fault;
using mock_kms::v1::FaultUse;
using namespace std::chrono_literals;

Fault complete(const std::string& text) {
  const auto read = read_fault(text);
  REQUIRE(read.ok());
  auto whole = complete_fault(*read);
  REQUIRE_MESSAGE(whole.ok(), whole.error().line());
  return *whole;
}

struct PlanFixture {
  explicit PlanFixture(const std::string& text, std::uint64_t seed = 1) : plan(seed, "node-1", "blue") {
    plan.add(complete(text), now);
  }
  FaultDecision call(Fault::Method method = Fault::DECRYPT, std::string_view uid = "u",
                     std::string_view key_id = "k") {
    return plan.decide({method, uid, key_id}, now);
  }
  /// One character per call: x where it met the fault.
  std::string calls(int count) {
    std::string met;
    for (int i = 0; i < count; ++i) met += call().names.empty() ? '.' : 'x';
    return met;
  }
  FaultPlan::Time now{1h};
  FaultPlan plan;
};

TEST_CASE("a fault meets the methods that it names") {
  PlanFixture planned(R"({"methods": ["STATUS", "DECRYPT"], "error": {"code": "INTERNAL", "message": "m"}})");
  CHECK(planned.call(Fault::STATUS).error->first == 13);
  CHECK(planned.call(Fault::DECRYPT).error->second == "m");
  CHECK(!planned.call(Fault::ENCRYPT).error);
}

TEST_CASE("of the calls only the first, each n-th, or both") {
  CHECK(PlanFixture(R"({"first": 3, "hang": {}})").calls(6) == "xxx...");
  CHECK(PlanFixture(R"({"every": 3, "hang": {}})").calls(7) == "..x..x.");
  CHECK(PlanFixture(R"({"first": 4, "every": 2, "hang": {}})").calls(8) == ".x.x....");
}

TEST_CASE("a fault begins and ends at its time") {
  PlanFixture planned(R"({"after": "2s", "for": "3s", "hang": {}})");
  CHECK(planned.calls(1) == ".");
  planned.now += 2s;
  CHECK(planned.calls(1) == "x");
  planned.now += 3s - 1ns;
  CHECK(planned.calls(1) == "x");
  CHECK(planned.plan.list(planned.now).faults(0).state() == FaultUse::SET);
  planned.now += 1ns;
  CHECK(planned.calls(1) == ".");
  CHECK(planned.plan.list(planned.now).faults(0).state() == FaultUse::OVER);
}

TEST_CASE("patterns of key id and uid") {
  PlanFixture planned(R"({"keyId": "blue/v1/*", "uid": "a?c", "hang": {}})");
  CHECK(planned.call(Fault::DECRYPT, "abc", "blue/v1/00000000").hang);
  CHECK(!planned.call(Fault::DECRYPT, "abc", "blue/v2/00000000").hang);
  CHECK(!planned.call(Fault::DECRYPT, "ac", "blue/v1/00000000").hang);
  CHECK(!planned.call(Fault::STATUS, "", "blue/v1/00000000").hang);
}

TEST_CASE("faults of another node or instance are kept and do nothing") {
  for (const char* text : {R"({"node": "node-2", "hang": {}})", R"({"instance": "gr*", "hang": {}})"}) {
    PlanFixture planned(text);
    CHECK(!planned.plan.any());
    CHECK(planned.calls(1) == ".");
    CHECK(planned.plan.list(planned.now).faults(0).state() == FaultUse::ELSEWHERE);
  }
  PlanFixture both(R"({"node": "node-?", "instance": "b*", "hang": {}})");
  CHECK(both.plan.any());
  CHECK(both.calls(1) == "x");
}

TEST_CASE("the same seed meets the same calls, another seed others, and chance is what it says") {
  const std::string text = R"({"name": "f", "probability": 0.3, "hang": {}})";
  const std::string met = PlanFixture(text, 7).calls(1000);
  CHECK(PlanFixture(text, 7).calls(1000) == met);
  CHECK(PlanFixture(text, 8).calls(1000) != met);
  const auto count = std::count(met.begin(), met.end(), 'x');
  CHECK(count > 240);
  CHECK(count < 360);
}

TEST_CASE("probability 0 is never and 1 always, beside a preset's own as well") {
  CHECK(PlanFixture(R"({"probability": 0, "hang": {}})").calls(100).find('x') == std::string::npos);
  CHECK(PlanFixture(R"({"preset": "flaky", "probability": 0})").calls(100).find('x') == std::string::npos);
  CHECK(PlanFixture(R"({"preset": "flaky", "probability": -0.0})").calls(100).find('x') == std::string::npos);
  CHECK(PlanFixture(R"({"preset": "flaky", "probability": 1})").calls(100) == std::string(100, 'x'));
}

TEST_CASE("calls that another fault meets in between change no outcome") {
  const std::string text =
      R"({"name": "f", "probability": 0.5, "methods": ["DECRYPT"], "latency": {"min": "1s", "max": "2s"}})";
  PlanFixture alone(text);
  PlanFixture among(text);
  among.plan.add(complete(R"({"name": "g", "probability": 0.5, "healthz": "x"})"), among.now);
  for (int i = 0; i < 100; ++i) {
    (void)among.call(Fault::STATUS);
    CHECK(alone.call().delay == among.call().delay);
  }
}

TEST_CASE("latency is fixed, even, or has a long tail") {
  CHECK(PlanFixture(R"({"latency": {"min": "0.250s"}})").call().delay == 250ms);
  PlanFixture even(R"({"latency": {"min": "1s", "max": "3s"}})");
  PlanFixture tail(R"({"latency": {"min": "0.010s", "max": "5s", "longTail": true}})");
  Duration sum{0};
  int over_2s = 0;
  int below_20ms = 0;
  for (int i = 0; i < 2000; ++i) {
    const Duration delay = even.call().delay;
    CHECK(delay >= 1s);
    CHECK(delay <= 3s);
    sum += delay;
    const Duration rare = tail.call().delay;
    CHECK(rare >= 10ms);
    CHECK(rare <= 5s);
    over_2s += rare > 2s ? 1 : 0;
    below_20ms += rare < 20ms ? 1 : 0;
  }
  CHECK(sum / 2000 > 1900ms);
  CHECK(sum / 2000 < 2100ms);
  CHECK(below_20ms > 800);
  CHECK(over_2s > 0);
  CHECK(over_2s < 60);
}

TEST_CASE("a rate limit lets pass what it says") {
  PlanFixture planned(R"({"rateLimit": {"perSecond": 2, "burst": 3}})");
  CHECK(planned.calls(5) == "...xx");
  planned.now += 1s;
  CHECK(planned.calls(3) == "..x");
  CHECK(planned.call().error->first == Fault::RESOURCE_EXHAUSTED);
  planned.now += 1h;
  CHECK(planned.calls(4) == "...x");
}

TEST_CASE("a violation meets the answers that have a place for it") {
  CHECK(PlanFixture("plaintext-wrong").call(Fault::ENCRYPT).names.empty());
  CHECK(!PlanFixture("plaintext-wrong").call(Fault::DECRYPT).names.empty());
  CHECK(!PlanFixture("key-id-empty").call(Fault::STATUS).names.empty());
  CHECK(PlanFixture("key-id-empty").call(Fault::DECRYPT).names.empty());
  CHECK(PlanFixture("key-id-disagrees").call(Fault::STATUS).names.empty());
}

TEST_CASE("faults add up, the first one set counts, and one of the same name is replaced") {
  PlanFixture planned(R"({"name": "a", "error": {"code": "INTERNAL"}})");
  planned.plan.add(complete(R"({"name": "b", "error": {"code": "ABORTED"}})"), planned.now);
  planned.plan.add(complete(R"({"name": "c", "latency": {"min": "1s"}})"), planned.now);
  const auto met = planned.call();
  CHECK(met.error->first == Fault::INTERNAL);
  CHECK(met.delay == 1s);
  CHECK(met.names == "a, b, c");
  planned.plan.add(complete(R"({"name": "a", "hang": {}})"), planned.now);
  CHECK(planned.plan.list(planned.now).faults_size() == 3);
  CHECK(planned.call().error->first == Fault::ABORTED);
  CHECK(planned.plan.clear("b") == 1);
  CHECK(planned.plan.clear("b") == 0);
  CHECK(planned.plan.clear("") == 2);
  CHECK(!planned.plan.any());
}

TEST_CASE("every preset is a complete fault, and its own fields give way to those beside it") {
  CHECK(presets().size() > 15);
  for (const Preset& preset : presets()) {
    CAPTURE(preset.name);
    CHECK(complete(preset.name).effect_case() != Fault::EFFECT_NOT_SET);
  }
  const Fault changed = complete(R"({"preset": "flaky", "probability": 0.9, "methods": ["STATUS"]})");
  CHECK(changed.probability() == 0.9);
  CHECK(changed.methods_size() == 1);
  CHECK(changed.error().code() == Fault::UNAVAILABLE);
}

TEST_CASE("a duration or a number beside a preset takes the place of the preset's own, be it 0") {
  const Fault slow = complete(R"({"preset": "slow", "latency": {"min": "0.1s", "max": "0.2s"}})");
  CHECK(slow.latency().min().seconds() == 0);
  CHECK(slow.latency().min().nanos() == 100'000'000);
  CHECK(slow.latency().max().seconds() == 0);
  CHECK(complete(R"({"preset": "slow", "latency": {"max": "9s"}})").latency().min().seconds() == 2);
  CHECK(complete(R"({"preset": "down-at-start", "lateStart": "0.5s"})").late_start().seconds() == 0);
  CHECK(!complete(R"({"preset": "long-tail", "latency": {"longTail": false}})").latency().long_tail());
  CHECK(complete(R"({"preset": "crash-loop", "crash": {"exitCode": 0}})").crash().exit_code() == 0);
  CHECK(PlanFixture(R"({"preset": "crash-loop", "every": 0})").calls(3) == "xxx");
}

TEST_CASE("a name that is made up is no other fault's") {
  PlanFixture planned(R"({"name": "fault-1", "hang": {}})");
  CHECK(planned.plan.add(complete(R"({"hang": {}})"), planned.now).name() == "fault-2");
  planned.plan.declare({complete(R"({"name": "slow-3", "preset": "slow"})")}, planned.now,
                       mock_kms::v1::FaultUse::FILE);
  CHECK(planned.plan.add(complete("slow"), planned.now).name() == "slow-4");
  CHECK(planned.plan.list(planned.now).faults_size() == 4);
}

TEST_CASE("a malformed fault is refused with the reason") {
  const auto why = [](const std::string& text) {
    const auto read = read_fault(text);
    if (!read) return read.error().line();
    const auto whole = complete_fault(*read);
    return whole.ok() ? std::string() : whole.error().line();
  };
  CHECK(why("no-such").starts_with("there is no preset 'no-such'; the presets are: key-disabled, "));
  CHECK(why("{").starts_with("this is not a fault: "));
  CHECK(why("{}").find("it has no effect") != std::string::npos);
  for (const char* text : {R"({"error": {"code": "OK"}})",
                           R"({"error": {"code": 99}})",
                           R"({"latency": {}})",
                           R"({"latency": {"min": "2s", "max": "1s"}})",
                           R"({"latency": {"min": "2s", "longTail": true}})",
                           R"({"rateLimit": {}})",
                           R"({"rateLimit": {"perSecond": "NaN"}})",
                           R"({"crash": {"exitCode": 256}})",
                           R"({"crash": {"signal": "SIGNOPE"}})",
                           R"({"hang": {}, "probability": 1.5})",
                           R"({"hang": {}, "probability": "NaN"})",
                           R"({"hang": {}, "after": "-1s"})",
                           R"({"latency": {"min": "-1s", "max": "2s"}})",
                           R"({"preset": "slow", "latency": {"min": "-0.5s"}})",
                           R"({"lateStart": "-1s"})",
                           R"({"violation": 99})",
                           R"({"drop": 99})",
                           R"({"hang": {}, "methods": [9]})",
                           R"({"memoryGrowth": {}})",
                           R"({"hang": {}, "color": "red"})"}) {
    CAPTURE(text);
    CHECK(!why(text).empty());
  }
}

using mock_kms::v1::FaultUse;

Fault named(const std::string& name, const std::string& text) {
  Fault fault = complete(text);
  fault.set_name(name);
  return fault;
}

TEST_CASE("a command's fault counts before the scenario's, and that before the file's") {
  FaultPlan plan(1, "", "");
  const FaultPlan::Time now{1h};
  plan.declare({named("f", R"({"error": {"code": "INTERNAL", "message": "file"}})")}, now, FaultUse::FILE);
  CHECK(plan.decide({Fault::STATUS, "", ""}, now).error->second == "file");
  plan.add(named("s", R"({"error": {"code": "INTERNAL", "message": "scenario"}})"), now, FaultUse::SCENARIO);
  CHECK(plan.decide({Fault::STATUS, "", ""}, now).error->second == "scenario");
  plan.add(named("c", R"({"error": {"code": "INTERNAL", "message": "command"}})"), now);
  const auto decision = plan.decide({Fault::STATUS, "", ""}, now);
  CHECK(decision.error->second == "command");
  CHECK(decision.names == "c, s, f");
}

TEST_CASE("a command's fault stands in for one of the file of the same name until it is cleared") {
  FaultPlan plan(1, "", "");
  const FaultPlan::Time now{1h};
  plan.declare({named("a", R"({"hang": {}})")}, now, FaultUse::FILE);
  plan.add(named("a", R"({"healthz": "h"})"), now);
  CHECK(!plan.decide({Fault::STATUS, "", ""}, now).hang);
  CHECK(plan.list(now).faults(1).state() == FaultUse::REPLACED);
  CHECK(plan.clear("") == 1);
  CHECK(plan.decide({Fault::STATUS, "", ""}, now).hang);
}

TEST_CASE("faults that a new declaration holds again go on where they were; the others begin or end") {
  FaultPlan plan(1, "", "");
  FaultPlan::Time now{1h};
  plan.add(named("by-command", R"({"healthz": "h"})"), now);
  plan.declare({named("kept", R"({"first": 2, "hang": {}})"), named("gone", R"({"freeze": {}})")}, now,
               FaultUse::FILE);
  CHECK(plan.decide({Fault::ENCRYPT, "", ""}, now).freeze);
  plan.declare({named("new", R"({"first": 1, "hang": {}})"), named("kept", R"({"first": 2, "hang": {}})")},
               now, FaultUse::FILE);
  CHECK(plan.decide({Fault::ENCRYPT, "", ""}, now).names == "new, kept");
  CHECK(plan.decide({Fault::ENCRYPT, "", ""}, now).names.empty());
  CHECK(plan.decide({Fault::STATUS, "", ""}, now).names == "by-command");
}

TEST_CASE("durations beyond what a clock can hold are as good as for ever") {
  Fault fault;  // as a client of the control service may send it: protobuf's durations reach 10,000 years
  fault.mutable_hang();
  fault.mutable_after()->set_seconds(315'576'000'000);
  FaultPlan plan(1, "node-1", "blue");
  const FaultPlan::Time now{1h};
  plan.add(*complete_fault(fault), now);
  CHECK(!plan.decide({Fault::DECRYPT, "u", "k"}, now).hang);
  fault.clear_after();
  fault.mutable_latency()->mutable_min()->set_seconds(315'576'000'000);
  *fault.mutable_latency()->mutable_max() = fault.latency().min();
  fault.mutable_latency()->set_long_tail(true);
  plan.add(*complete_fault(fault), now);
  plan.add(complete(R"({"latency": {"min": "2562047h"}})"), now);
  CHECK(plan.decide({Fault::DECRYPT, "u", "k"}, now).delay > 24h * 365);
}

}  // namespace
}  // namespace kms::provider
