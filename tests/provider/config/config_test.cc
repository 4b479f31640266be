#include "provider/config/config.h"

#include <doctest/doctest.h>

namespace kms::provider {
namespace {

using mock_kms::v1::ProviderConfig;

TEST_CASE("a configuration is completed: presets are filled in and every fault has a name") {
  const auto parsed = parse_config(R"({
    "keyVersion": 3,
    "faults": [{"preset": "key-disabled", "node": "node-1"}, {"name": "mine", "hang": {}}],
    "scenario": {"steps": [{"at": "1.5s", "do": {"fault": {"preset": "slow"}}}]}
  })");
  REQUIRE_MESSAGE(parsed.ok(), parsed.error().line());
  const auto& config = *parsed;
  CHECK(config.key_version() == 3);
  CHECK(config.faults(0).name() == "config-1");
  CHECK(config.faults(0).error().message() == "key disabled");
  CHECK(config.faults(1).name() == "mine");
  CHECK(config.scenario().steps(0).action().fault().name() == "step-1");
  CHECK(config.scenario().steps(0).action().fault().has_latency());
}

TEST_CASE("an empty object declares nothing") { CHECK(parse_config("{}").ok()); }

TEST_CASE("a configuration that makes no sense is refused with the place and the reason") {
  const auto why = [](const std::string& text) {
    const auto parsed = parse_config(text);
    return parsed.ok() ? "" : parsed.error().cause();
  };
  CHECK(why("").starts_with("it is not JSON: "));
  CHECK(why("{\n \"keyVersion\": 3,\n \"faults\": [1 2]\n}") ==
        "it is not JSON: line 3, column 15: Expected , or ] after array value.");
  CHECK(why("{\n").starts_with("it is not JSON: line 2, column 1: "));
  CHECK(why(R"({"keyVersions": 1})") == "unknown field 'keyVersions'; did you mean 'keyVersion'?");
  CHECK(why(R"({"faults": [{"hang": {}}, {"preset": "nope"}]})") == "faults[1]: there is no preset 'nope'");
  CHECK(why(R"({"faults": [{"name": "a", "hang": {}}, {"name": "a", "hang": {}}]})") ==
        "faults[1]: another fault is named 'a'");
  CHECK(why(R"({"scenario": {}})") == "the scenario has no steps");
  CHECK(why(R"({"scenario": {"steps": [{"at": "1s"}]}})").starts_with("scenario.steps[0]: it does nothing"));
}

TEST_CASE("JSON that people write names the place of a mistake in the words of the file") {
  const auto why = [](const std::string& text) {
    const auto parsed = parse_config(text);
    return parsed.ok() ? "" : parsed.error().cause();
  };
  CHECK(why(R"({"faults": [{"hang": {}, "method": ["ENCRYPT"]}]})") ==
        "faults[0]: unknown field 'method'; did you mean 'methods'?");
  CHECK(why(R"({"faults": [{"hang": {}}, {"latency": {"minimum": "1s"}}]})") ==
        "faults[1].latency: unknown field 'minimum'");
  CHECK(why(R"({"scenario": {"steps": [{"at": "1s", "fault": {"hang": {}}}]}})") ==
        "scenario.steps[0]: unknown field 'fault'; it belongs into 'do'");
  CHECK(why("{\"keyVersion\": 2,\n}") == "it is not JSON: a comma before } in line 2");
  CHECK(why(R"({"faults": [{"hang": {}, "name": "a,]\"}"},]})") ==
        "it is not JSON: a comma before ] in line 1");
  CHECK(why(R"({"faults": [{"hang": {}, "name": "a,]\",}"}]})").empty());
  CHECK(why(R"({"scenario": {"steps": [{"at": "1s", "for": "2s"}]}})") ==
        "scenario.steps[0]: unknown field 'for'");
  CHECK(why(R"({"faults": [{"hang": {}, "methods": ["encript"]}]})") ==
        "faults[0].methods[0]: unknown name 'encript'; did you mean 'encrypt'?");
  CHECK(why(R"({"faults": [{"violation": "key-id-emty"}]})") ==
        "faults[0].violation: unknown name 'key-id-emty'; did you mean 'key-id-empty'?");
  CHECK(why(R"({"faults": [{"violation": "KEY_ID_EMTY"}]})") ==
        "faults[0].violation: unknown name 'KEY_ID_EMTY'; did you mean 'KEY_ID_EMPTY'?");
  CHECK(why(R"({"faults": [{"hang": {}, "methods": "encrypt"}]})") ==
        "faults[0].methods: it is not a list in [ ]");
  CHECK(why(R"({"faults": [{"hang": {}, "error": {}}]})") ==
        "faults[0].hang: it cannot be set beside 'error'");
  CHECK(why(R"({"faults": [{"hang": {}, "first": 1.5}]})").starts_with("faults[0].first: it is not a whole"));
  CHECK(why(R"({"faults": [{"hang": {}, "first": 4294967296}]})").starts_with("faults[0].first: it is not"));
  CHECK(why(R"({"faults": [{"hang": {}, "for": 30}]})").starts_with("faults[0].for: it is not a duration"));
  CHECK(why(R"({"faults": [{"hang": {}, "for": "soon"}]})").starts_with("faults[0].for: 'soon' is not"));
  CHECK(why(R"({"scenario": {"steps": [{"do": {"action": {}}}]}})") ==
        "scenario.steps[0].do: unknown field 'action'");
  CHECK(why(R"([])") == "it is not an object in { }");
}

TEST_CASE("a field has its documented name only, and the name in the .proto file leads to it") {
  const auto why = [](const std::string& text) {
    const auto parsed = parse_config(text);
    return parsed.ok() ? "" : parsed.error().cause();
  };
  CHECK(why(R"({"scenario": {"steps": [{"at": "0s", "action": {"rotate": {}}}]}})") ==
        "scenario.steps[0]: unknown field 'action'; did you mean 'do'?");
  CHECK(why(R"({"faults": [{"hang": {}, "lasting": "1ms"}]})") ==
        "faults[0]: unknown field 'lasting'; did you mean 'for'?");
  CHECK(why(R"({"faults": [{"rate_limit": {"perSecond": 1}}]})") ==
        "faults[0]: unknown field 'rate_limit'; did you mean 'rateLimit'?");
}

TEST_CASE("a preset and a signal are read in any case, and a wrong signal names the nearest one") {
  const auto parsed = parse_config(R"({"faults": [{"preset": "Flaky"}, {"preset": "KEY_DISABLED"}]})");
  REQUIRE_MESSAGE(parsed.ok(), parsed.error().line());
  CHECK(parsed->faults(0).preset() == "flaky");
  CHECK(parsed->faults(1).preset() == "key-disabled");
  CHECK(
      parse_config(R"({"faults": [{"crash": {"signal": "sigkill"}}, {"crash": {"signal": "kill"}}]})").ok());
  const auto wrong = parse_config(R"({"faults": [{"crash": {"signal": "sigkil"}}]})");
  REQUIRE_FALSE(wrong.ok());
  CHECK(wrong.error().cause().ends_with("there is no signal 'sigkil'; did you mean 'SIGKILL'?"));
}

TEST_CASE("names are read in any case and durations as options have them") {
  const auto parsed = parse_config(R"({
    "faults": [{"methods": ["encrypt", "Decrypt"], "for": "1m30s", "error": {"code": "not-found"}},
               {"violation": "key-id-empty", "after": "250ms", "probability": null},
               {"drop": "goaway", "keyId": "a*"}],
    "scenario": {"steps": [{"at": "0s", "do": {"rotate": {"force": true}}},
                           {"at": "1h", "do": {"fault": {"latency": {"min": "1.5s", "longTail": false}}}}]}
  })");
  REQUIRE_MESSAGE(parsed.ok(), parsed.error().line());
  const auto& faults = parsed->faults();
  CHECK(faults[0].methods(1) == mock_kms::v1::Fault::DECRYPT);
  CHECK(faults[0].lasting().seconds() == 90);
  CHECK(faults[0].error().code() == mock_kms::v1::Fault::NOT_FOUND);
  CHECK(faults[1].violation() == mock_kms::v1::Fault::KEY_ID_EMPTY);
  CHECK(faults[1].after().nanos() == 250'000'000);
  CHECK(!faults[1].has_probability());
  CHECK(faults[2].key_id() == "a*");
  CHECK(parsed->scenario().steps(1).at().seconds() == 3600);
}

TEST_CASE("a refusal that quotes the input stays on one line") {
  const auto parsed = parse_config(R"({"faults": [{"preset": "two\nlines"}]})");
  REQUIRE(!parsed);
  CHECK(parsed.error().line().starts_with("faults[0]: there is no preset 'two?lines'; "));
}

TEST_CASE("a file that cannot be read is an outcome, not an accident") {
  std::string digest = "before";
  const auto missing = read_config("/no/such/file", digest);
  REQUIRE(!missing);
  CHECK(missing.error().cause() == "cannot open /no/such/file: No such file or directory");
  CHECK(digest.empty());
  REQUIRE(!read_config("/proc", digest));
}

}  // namespace
}  // namespace kms::provider
