#include "supervisor/control/status_text.h"

#include <doctest/doctest.h>
#include <google/protobuf/util/json_util.h>

#include "common/text/protobuf.h"

namespace kms::supervisor {
namespace {

using mock_kms::v1::SupervisorStatus;

/// A status as its JSON has it, so that a test shows what a user of `-o json` sees.
SupervisorStatus from_json(const std::string& json) {
  SupervisorStatus status;
  REQUIRE(google::protobuf::util::JsonStringToMessage(json, &status).ok());
  return status;
}

const std::chrono::system_clock::time_point now{std::chrono::seconds(1700000100)};

SupervisorStatus healthy() {
  return from_json(
      R"({"state": "SERVING", "since": "2023-11-14T22:14:00Z", "healthy": true, "ready": true, "pid": 42,
      "startedAt": "2023-11-14T22:13:59.990Z",
      "probe": {"latency": "0.000400s", "at": "2023-11-14T22:14:59.700Z", "timeToReady": "0.010s", "p50": "0.0003s",
                "p99": "0.0008s", "recent": ["0.0001s", "0.0004s", "0.0008s"]},
      "leaseLeft": "179.700s", "deepProbe": {"at": "2023-11-14T22:14:58Z", "keyId": "k1", "latency": "0.002s"},
      "answer": {"version": "v2", "healthz": "ok", "keyId": "default/v1/0a1b2c3d"},
      "socket": {"endpoint": "unix:///run/kms.sock", "present": true, "owner": "root:root", "mode": "0600",
                 "selinux": "none", "inode": "7", "inPlace": true},
      "binary": {"path": "/p", "sha256": "ab", "matchesBuild": true,
                 "build": {"commit": "c0ffee", "ref": "main", "repository": "/r"}},
      "supervisorPid": 1, "supervisorStartedAt": "2023-11-14T22:13:59Z", "supervisorVersion": "0.1.0"})");
}

}  // namespace

TEST_CASE("a healthy status reads at a glance") {
  CHECK(
      status_text(healthy(), now) ==
      "healthy, serving since 2023-11-14T22:14:00.000Z (1m 00s ago)\n"
      "  plugin     pid 42, started 1m 00s ago, 0 restarts\n"
      "  kms        version v2, healthz ok, key_id default/v1/0a1b2c3d\n"
      "  encrypt    key_id k1, decrypted again in 2.0 ms, 2.0 s ago\n"
      "  probe      last 300.0 ms ago, answered in 0.4 ms, 0 failures in a row, ready 10.0 ms after launch\n"
      "             p50 0.3 ms, p99 0.8 ms \u2581\u2584\u2588\n"
      "  lease      179 s of 180 s left to the API server, counted from the last good Status\n"
      "  socket     unix:///run/kms.sock, root:root 0600, SELinux none, inode 7, bound by the supervisor\n"
      "  binary     /p\n"
      "             sha256 ab\n"
      "             built from commit c0ffee (main) of /r\n"
      "  supervisor pid 1, started 1m 01s ago, version 0.1.0\n");
  CHECK(status_line(healthy()) == "healthy: pid 42, key_id default/v1/0a1b2c3d");
}

TEST_CASE("a plugin that backs off shows its cause, its next start and its last lines") {
  const SupervisorStatus status = from_json(R"({"state": "BACKING_OFF", "since": "2023-11-14T22:15:00Z",
      "reason": "the plugin exited with code 1", "restarts": 3, "nextStartAt": "2023-11-14T22:15:01.500Z",
      "exits": [{"at": "2023-11-14T22:15:00Z", "pid": 7, "status": "exited with code 1", "cause": "it ended by itself",
                 "lived": "0.002s", "lastLines": ["no seed", "giving up"]}]})");
  const std::string text = status_text(status, now);
  CHECK(text.starts_with("NOT HEALTHY, backing off since "));
  CHECK(text.find("reason     the plugin exited with code 1\n") != std::string::npos);
  CHECK(text.find("plugin     not running, 3 restarts, next start in 1.5 s\n") != std::string::npos);
  CHECK(text.find("last exit  0.0 ms ago, pid 7 after 2.0 ms: exited with code 1\n") != std::string::npos);
  CHECK(text.find("             | no seed\n             | giving up\n") != std::string::npos);
  CHECK(status_line(status) == "not healthy (backing off): the plugin exited with code 1");
}

TEST_CASE("each exit is shown with its cause, and whether it was requested, injected or real") {
  SupervisorStatus status = healthy();
  status.clear_deep_probe();
  status.set_dropped_lines(7);
  *status.mutable_exits() = from_json(R"({"exits": [
      {"at": "2023-11-14T22:15:00Z", "pid": 9, "status": "exited with code 0", "cause": "a planned restart replaced it",
       "lived": "1s", "askedFor": true},
      {"at": "2023-11-14T22:14:59Z", "pid": 8, "status": "exited with code 1", "cause": "it ended by itself",
       "lived": "1s", "injected": true, "outage": "0.005s"},
      {"at": "2023-11-14T22:14:58Z", "pid": 7, "status": "killed by SIGSEGV", "cause": "it crashed", "lived": "1s"}]})")
                                .exits();
  const std::string text = status_text(status, now);
  CHECK(text.find("  last exit  0.0 ms ago, pid 9 after 1.0 s: exited with code 0\n"
                  "             a planned restart replaced it (requested)\n"
                  "  earlier    1.0 s ago, pid 8 after 1.0 s: exited with code 1, outage 5.0 ms\n"
                  "             it ended by itself (INJECTED on purpose by mock-kms-provider)\n"
                  "             2.0 s ago, pid 7 after 1.0 s: killed by SIGSEGV\n"
                  "             it crashed\n") != std::string::npos);
  CHECK(text.find("  encrypt    not checked (enable with --deep-probe-every)\n") != std::string::npos);
  CHECK(text.find("  output     7 lines were dropped: the supervisor's stderr did not take them") !=
        std::string::npos);
}

TEST_CASE("several instances are a table, and one that is not well names itself first") {
  const SupervisorStatus status = from_json(R"json({"healthy": false, "ready": true, "restarts": 1,
      "reason": "instance 2: the plugin answers, but healthz is 'no' instead of ok (rule 12)", "instances": [
        {"instance": 1, "state": "SERVING", "healthy": true, "ready": true, "pid": 11, "answer": {"keyId": "one/v1"},
         "socket": {"endpoint": "unix:///run/kms-1.sock"}, "probe": {"latency": "0.001s"}},
        {"instance": 2, "state": "SERVING", "ready": true, "pid": 12, "restarts": 1, "reason": "the plugin answers",
         "socket": {"endpoint": "unix:///run/kms-2.sock"}}]})json");
  CHECK(status_text(status, now) ==
        "NOT HEALTHY, 2 instances, 1 restart\n"
        "  reason     instance 2: the plugin answers, but healthz is 'no' instead of ok (rule 12)\n"
        "  no.  state        pid      restarts answer in socket, key_id or reason\n"
        "  1    serving      11       0        1.0 ms    unix:///run/kms-1.sock one/v1\n"
        "  2    serving      12       1        -         unix:///run/kms-2.sock the plugin answers\n");
  CHECK(status_line(status).starts_with("not healthy: 1 of 2 instances are; instance 2: "));
}

TEST_CASE("colours tell healthy, unhealthy and not ready apart, and words are the same without") {
  SupervisorStatus status = healthy();
  CHECK(status_text(status, now, Colours::ansi).starts_with("\033[32mhealthy\033[0m, serving"));
  status.set_healthy(false);
  CHECK(status_text(status, now, Colours::ansi).starts_with("\033[33mNOT HEALTHY\033[0m, serving"));
  status.set_ready(false);
  CHECK(status_text(status, now, Colours::ansi).starts_with("\033[31mNOT HEALTHY\033[0m, serving"));
}

TEST_CASE("a configuration that was refused is told with its cause, and what stays") {
  SupervisorStatus status = healthy();
  *status.mutable_plugin_config() =
      from_json(R"({"pluginConfig": {"file": "/p.json", "since": "2023-11-14T22:14:00Z"}})").plugin_config();
  CHECK(status_text(status, now).find("  config     /p.json, in effect since 2023-11-14T22:14:00.000Z\n") !=
        std::string::npos);
  *status.mutable_plugin_config() =
      from_json(R"({"pluginConfig": {"file": "/p.json", "since": "2023-11-14T22:14:00Z", "error": "no\njson",
                                     "errorSince": "2023-11-14T22:14:58Z", "remark": "keyVersion is low"}})")
          .plugin_config();
  CHECK(status_text(status, now)
            .find("  config     /p.json, REFUSED 2.0 s ago: no\\x0ajson\n"
                  "             the contents of 1m 00s ago stay in effect\n"
                  "             keyVersion is low\n") != std::string::npos);
}

TEST_CASE("a file that is not the one that was built is called out") {
  SupervisorStatus status = healthy();
  status.mutable_binary()->set_matches_build(false);
  CHECK(status_text(status, now).find("THE FILE IS NOT THE ONE THAT WAS BUILT") != std::string::npos);
}

TEST_CASE("JSON has every simple field, so that scripts need no defaults") {
  const std::string json = to_json(SupervisorStatus(), JsonLayout::document);
  for (const char* name : {"healthy", "ready", "pid", "restarts", "reason", "supervisorPid"}) {
    CAPTURE(name);
    CHECK(json.find("\"" + std::string(name) + "\":") != std::string::npos);
  }
}

}  // namespace kms::supervisor
