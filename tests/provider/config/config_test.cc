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
  CHECK(why("").starts_with("this is not a configuration: "));
  CHECK(why(R"({"keyVersions": 1})").find("keyVersions") != std::string::npos);
  CHECK(why(R"({"faults": [{"hang": {}}, {"preset": "nope"}]})") == "fault 2: there is no preset 'nope'");
  CHECK(why(R"({"faults": [{"name": "a", "hang": {}}, {"name": "a", "hang": {}}]})") ==
        "fault 2: another fault is named 'a'");
  CHECK(why(R"({"scenario": {}})") == "the scenario has no steps");
}

TEST_CASE("a refusal that quotes the input stays on one line") {
  const auto parsed = parse_config(R"({"faults": [{"preset": "two\nlines"}]})");
  REQUIRE(!parsed);
  CHECK(parsed.error().line().starts_with("fault 1: there is no preset 'two?lines'; "));
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
