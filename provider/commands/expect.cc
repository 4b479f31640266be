// `expect` compares the number of calls with what a test expects.
#include <cstdio>
#include <thread>

#include "common/cli/exit_code.h"
#include "common/text/junit.h"
#include "common/text/protobuf.h"
#include "provider/commands/client.h"
#include "provider/commands/commands.h"
#include "provider/journal/expectation.h"

namespace kms::provider {
namespace {

constexpr auto recount_interval = std::chrono::milliseconds(50);

struct ExpectOptions : ProviderOptions {
  std::string text;
  Duration within{0};
  std::string junit;  ///< file; empty: no report
};

std::uint64_t count_calls(ControlClient& client, const Expectation& expectation) {
  mock_kms::v1::CountCallsRequest request;
  if (const auto since = expectation.since()) *request.mutable_since() = to_proto(*since);
  const auto counts = client.call(request, &ControlClient::Stub::CountCalls);
  if (counts.incomplete()) {
    throw Error(
        "the journal holds the last 1000 calls and does not reach back " + go_duration(*expectation.since()),
        "use 'since start' or a shorter time", ErrorCode::invalid_input);
  }
  return expectation.count(counts);
}

int run_expect(const ExpectOptions& options) {
  using Clock = std::chrono::steady_clock;
  const auto expectation = valid_input(Expectation::parse(options.text));
  ControlClient client(options);
  const auto begun = Clock::now();
  auto count = count_calls(client, expectation);
  while (!expectation.holds(count) && Clock::now() + recount_interval <= begun + options.within) {
    std::this_thread::sleep_for(recount_interval);
    count = count_calls(client, expectation);
  }
  const bool holds = expectation.holds(count);
  const std::string seen = "expected " + options.text + ", there were " + std::to_string(count) + " calls";
  if (!options.junit.empty()) {
    const JunitCase test{"mock-kms-provider", options.text, holds ? "" : seen, ""};
    write_report(options.junit, junit_report("mock-kms-provider expect", {test}, Clock::now() - begun));
  }
  if (!holds) throw Error(seen, "see 'mock-kms-provider journal'");
  return exit_code::ok;
}

}  // namespace

Command expect_command(CommandLine& line) {
  const auto options = std::make_shared<ExpectOptions>();
  CLI::App& command = line.add_subcommand(
      "expect", "Exit with 0 if the number of calls is as expected, with 1 if not",
      {"mock-kms-provider expect 'decrypt == 0 since start'",
       "mock-kms-provider expect 'encrypt.FAILED_PRECONDITION >= 1 since 30s' --within 30s"});
  add_provider_options(command, *options);
  command.add_option("expectation", options->text, "WHAT OPERATOR NUMBER [since start | since DURATION]")
      ->required();
  add_duration(command, "--within", options->within, "Wait up to this long until it holds");
  command.add_option("--junit", options->junit, "File for a report in JUnit's form");
  return {&command, [options] { return run_expect(*options); }};
}

}  // namespace kms::provider
