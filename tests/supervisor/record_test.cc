#include "supervisor/history/record.h"

#include <doctest/doctest.h>

namespace kms::supervisor {
namespace {

using namespace std::chrono_literals;

mock_kms::v1::Exit exit_of(std::uint32_t pid) {
  mock_kms::v1::Exit end;
  end.set_pid(pid);
  end.set_cause("it crashed");
  return end;
}

}  // namespace

TEST_CASE("an outage lasts from the death to the next answer") {
  Record record({});
  record.outage_began(7, Time(10s));
  record.ended(exit_of(7));
  record.entered(BackingOff{}, {});
  const auto outage = record.outage_over(Time(13s));
  REQUIRE(outage);
  CHECK(outage->pid == 7);
  CHECK(outage->cause == "it crashed");
  CHECK(outage->duration == 3s);
  CHECK_FALSE(record.outage_over(Time(14s)));
}

TEST_CASE("a pause ends an outage that nobody waits for any more") {
  Record record({});
  record.outage_began(7, Time(10s));
  record.ended(exit_of(7));
  record.entered(Paused{}, {});
  record.entered(Starting{}, {});
  CHECK_FALSE(record.outage_over(Time(1h)));
}

}  // namespace kms::supervisor
