#include "provider/commands/expect_calls.h"

#include <google/protobuf/util/time_util.h>

#include <cstdio>
#include <thread>

#include "common/cli/exit_code.h"
#include "common/text/junit.h"
#include "provider/commands/control_client.h"
#include "provider/journal/expectation.h"

namespace kms::provider {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto ask_again_after = std::chrono::milliseconds(50);

std::uint64_t ask(ControlClient& client, const Expectation& expectation) {
  mock_kms::v1::CountCallsRequest request;
  if (const auto since = expectation.since()) {
    *request.mutable_since() = google::protobuf::util::TimeUtil::NanosecondsToDuration(since->count());
  }
  const auto counts = client.call(request, &ControlClient::Stub::CountCalls);
  if (counts.incomplete()) {
    throw Unanswered{exit_code::usage, "the journal holds the last 1000 calls and does not reach back " +
                                           go_duration(*expectation.since()) +
                                           "; ask 'since start' or for a shorter time"};
  }
  return expectation.count(counts);
}

}  // namespace

int call_expect(const ControlOptions& control, const ExpectOptions& options) {
  const auto parsed = Expectation::parse(options.text);
  if (!parsed) throw Unanswered{exit_code::usage, parsed.error().line()};
  const auto& expectation = *parsed;
  ControlClient client(control);
  const auto begun = Clock::now();
  auto count = ask(client, expectation);
  while (!expectation.holds(count) && Clock::now() + ask_again_after <= begun + options.within) {
    std::this_thread::sleep_for(ask_again_after);
    count = ask(client, expectation);
  }
  const bool holds = expectation.holds(count);
  const std::string seen = "expected " + options.text + ", there were " + std::to_string(count) + " calls";
  if (!options.junit.empty()) {
    const JunitCase test{"mock-kms-provider", options.text, holds ? "" : seen, ""};
    write_report(options.junit, junit_report("mock-kms-provider expect", {test}, Clock::now() - begun));
  }
  if (holds) return exit_code::ok;
  std::fprintf(stderr, "mock-kms-provider: %s; see 'mock-kms-provider journal'\n", seen.c_str());
  return exit_code::failed;
}

}  // namespace kms::provider
