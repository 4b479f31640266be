// `expect` compares the number of calls with what a test expects.
#include <cstdio>
#include <thread>

#include "common/cli/exit_code.h"
#include "common/io/fd.h"
#include "common/text/counted.h"
#include "common/text/junit.h"
#include "common/text/protobuf.h"
#include "provider/commands/client.h"
#include "provider/commands/commands.h"
#include "provider/journal/expectation.h"

namespace kms::provider {
namespace {

constexpr auto recount_interval = std::chrono::milliseconds(50);

const std::string what_to_expect =
    "WHAT      status, encrypt, decrypt, other or all, of KMS v1 v1version, v1encrypt or v1decrypt:\n"
    "          the calls that ended, and those that a fault lets hang. other: unknown methods.\n"
    "          After a dot only some of them: a gRPC code such as NOT_FOUND, HUNG (no answer),\n"
    "          or faulted (a fault applied)\n"
    "OPERATOR  == != < <= > >=\n"
    "TIME      start of the provider (the default), or a time back from now such as 30s\n";

struct ExpectOptions : ProviderOptions {
  std::vector<std::string> words;  ///< one; more if the quotes were forgotten
  Duration within{0};
  std::string junit;  ///< file; empty: no report
};

struct Counted {
  std::uint64_t calls = 0;
  std::string remark;  ///< the provider has not run for as long as the expectation looks back
};

Counted count_calls(ControlClient& client, const Expectation& expectation) {
  mock_kms::v1::CountCallsRequest request;
  if (const auto since = expectation.since()) *request.mutable_since() = to_proto(*since);
  const auto counts = client.call(request, &ControlClient::Stub::CountCalls);
  if (counts.incomplete() || (counts.status_incomplete() && expectation.counts_good_status())) {
    throw bad_input("the journal is bounded and does not reach back " + go_duration(*expectation.since()),
                    "use 'since start' or a shorter time");
  }
  const Duration lived = from_proto(counts.since_start());
  const bool began_within = expectation.since() && lived < *expectation.since();
  return {expectation.count(counts),
          began_within ? " since the provider started, " + human_duration(lived) + " ago" : ""};
}

int run_expect(const ExpectOptions& options) {
  using Clock = std::chrono::steady_clock;
  if (options.words.size() > 1) {
    throw bad_input("unexpected argument '" + options.words[1] + "'",
                    "put the expectation in quotes, such as 'decrypt == 0'");
  }
  const std::string& text = options.words.front();
  const auto expectation = valid_input(Expectation::parse(text));
  ControlClient client(options);
  const auto begun = Clock::now();
  Counted seen = count_calls(client, expectation);
  while (!expectation.holds(seen.calls) && Clock::now() + recount_interval <= begun + options.within) {
    std::this_thread::sleep_for(recount_interval);
    seen = count_calls(client, expectation);
  }
  const bool holds = expectation.holds(seen.calls);
  const std::string calls = counted(seen.calls, "call") + seen.remark;
  const std::string failure =
      "expected " + text + (seen.calls == 1 ? ", there was " : ", there were ") + calls;
  if (!options.junit.empty()) {
    const JunitCase test{"mock-kms-provider", text, holds ? "" : failure, ""};
    write_file(options.junit, junit_report("mock-kms-provider expect", {test}, Clock::now() - begun));
  }
  if (!holds) throw Error(failure, "see 'mock-kms-provider journal'");
  std::printf("ok: %s\n", calls.c_str());
  return exit_code::ok;
}

}  // namespace

Command expect_command(CommandLine& line) {
  const auto options = std::make_shared<ExpectOptions>();
  CLI::App& command = line.add_subcommand(
      "expect", "Compare the number of calls with an expected one; exit with 0 if it holds, with 1 if not",
      {"mock-kms-provider expect 'decrypt == 0'",
       "mock-kms-provider expect 'encrypt.faulted>=1' --within 30s",
       "mock-kms-provider expect 'all.UNAVAILABLE < 3 since 1m30s' --junit report.xml"});
  command.footer([] { return what_to_expect; });
  add_provider_options(command, *options);
  command.add_option("expectation", options->words, "WHAT OPERATOR NUMBER [since TIME]")
      ->option_text("TEXT REQUIRED")
      ->required();
  add_duration(command, "--within", options->within, "Wait up to this long until it holds");
  command.add_option("--junit", options->junit, "File for a JUnit report");
  return {&command, [options] { return run_expect(*options); }};
}

}  // namespace kms::provider
