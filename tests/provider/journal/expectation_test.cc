#include "provider/journal/expectation.h"

#include <doctest/doctest.h>

namespace kms::provider {
namespace {

using namespace std::chrono_literals;

Expectation parsed(std::string_view text) {
  auto outcome = Expectation::parse(text);
  REQUIRE_MESSAGE(outcome.ok(), outcome.error().line());
  return *outcome;
}

mock_kms::v1::CallCounts counts() {
  mock_kms::v1::CallCounts all;
  const auto add = [&](const char* method, const char* code, std::uint64_t calls, std::uint64_t faulted) {
    auto& line = *all.add_counts();
    line.set_method(method);
    line.set_code(code);
    line.set_calls(calls);
    line.set_faulted(faulted);
  };
  add("Status", "OK", 10, 1);
  add("Status", "UNAVAILABLE", 3, 3);
  add("Encrypt", "OK", 2, 0);
  add("Encrypt", "HUNG", 1, 1);
  return all;
}

TEST_CASE("an operator needs no blanks around it") {
  CHECK(parsed("status>=13").holds(13));
  CHECK(parsed("all.OK!= 12 since start").count(counts()) == 12);
  CHECK(parsed("encrypt <3 since 30s").since() == 30s);
  CHECK(!Expectation::parse("status = 1").ok());
  CHECK(!Expectation::parse("status>==1").ok());
}

TEST_CASE("an expectation counts what it names") {
  CHECK(parsed("status == 0").count(counts()) == 13);
  CHECK(parsed("all == 0").count(counts()) == 16);
  CHECK(parsed("all.OK == 0").count(counts()) == 12);
  CHECK(parsed("decrypt == 0").count(counts()) == 0);
  CHECK(parsed("encrypt.HUNG == 0").count(counts()) == 1);
  CHECK(parsed("status.faulted == 0").count(counts()) == 4);
  CHECK(parsed("Status.unavailable == 0").count(counts()) == 3);
  CHECK(parsed("ALL.Hung == 0").count(counts()) == 1);
}

TEST_CASE("an expectation compares") {
  CHECK(parsed("all == 3").holds(3));
  CHECK(parsed("all != 3").holds(4));
  CHECK(parsed("all < 3").holds(2));
  CHECK(!parsed("all < 3").holds(3));
  CHECK(parsed("all <= 3").holds(3));
  CHECK(parsed("all > 3").holds(4));
  CHECK(parsed("all >= 3").holds(3));
  CHECK(!parsed("all >= 3").holds(2));
}

TEST_CASE("an expectation looks back to the start or for a time") {
  CHECK(!parsed("all == 3").since());
  CHECK(!parsed("  all  == 3 since   start ").since());
  CHECK(*parsed("all == 3 since 1m30s").since() == 90s);
  CHECK(!parsed("all == 3 SINCE Start").since());
}

TEST_CASE("a misspelled word of an expectation names the nearest one") {
  const auto why = [](std::string_view text) { return Expectation::parse(text).error().cause(); };
  CHECK(why("encryp >= 1").ends_with("; did you mean 'encrypt'?"));
  CHECK(why("encrypt.UNAVAILBLE >= 1").ends_with("; did you mean 'UNAVAILABLE'?"));
  CHECK(why("encrypt.faultd > 0").ends_with("; did you mean 'faulted'?"));
}

TEST_CASE("a malformed expectation is refused with the reason") {
  for (const char* text : {"", "all", "all ==", "all = 3", "all == x", "all == -1", "all == 3 since",
                           "all == 3 for 3s", "all == 3 since x", "rotate == 3", "all.NOPE == 3", "all. == 3",
                           ".OK == 3", "all == 99999999999999999999", "all == 3 since start now"}) {
    CAPTURE(text);
    const auto outcome = Expectation::parse(text);
    REQUIRE(!outcome);
    CHECK(outcome.error().next_step().starts_with("write it as"));
  }
}

}  // namespace
}  // namespace kms::provider
