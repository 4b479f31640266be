// `journal` shows the last calls, their counts or the last plaintexts; `metrics` prints all counters.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <thread>

#include "common/cli/exit_code.h"
#include "common/crypto/bytes.h"
#include "common/text/escape.h"
#include "common/text/protobuf.h"
#include "provider/commands/client.h"
#include "provider/commands/commands.h"
#include "provider/journal/summary.h"

namespace kms::provider {
namespace {

using mock_kms::v1::CallRecord;

constexpr auto next_provider_interval = std::chrono::milliseconds(50);

struct JournalOptions : ProviderOptions {
  bool follow = false;
  std::vector<std::string> methods;  ///< empty: all calls and changes
  bool no_status = false;
  std::optional<Duration> since;    ///< back from now
  std::optional<std::size_t> tail;  ///< the last entries of those that the options above select
  bool counts = false;
  bool summary = false;
  bool last = false;
  bool reveal = false;
  OutputFormat format = OutputFormat::text;
};

void print_call(const CallRecord& call) {
  std::printf("%6llu %s ", static_cast<unsigned long long>(call.number()),
              rfc3339(from_proto(call.at())).c_str());
  if (!call.event().empty()) {
    std::printf("-- %s\n", visible_text(call.event()).c_str());
    return;
  }
  std::printf("%-9s %-19s %9s %8llu %8llu %10llu  %s  %s%s%s\n", call.method().c_str(), call.code().c_str(),
              human_duration(from_proto(call.latency())).c_str(),
              static_cast<unsigned long long>(call.request_bytes()),
              static_cast<unsigned long long>(call.response_bytes()),
              static_cast<unsigned long long>(call.connection()),
              call.key_id().empty() ? "-" : visible_text(call.key_id()).c_str(),
              call.uid().empty() ? "-" : visible_text(call.uid()).c_str(),
              call.fault().empty() ? "" : "  fault: ", visible_text(call.fault()).c_str());
}

/// True if the options select the entry. A change has no method: --method leaves it out, --no-status does
/// not.
bool selects(const JournalOptions& options, const CallRecord& call) {
  const auto now = std::chrono::system_clock::now();
  if (options.since && from_proto(call.at()) < now - *options.since) return false;
  if (options.no_status && call.method() == "Status") return false;
  return options.methods.empty() ||
         std::any_of(options.methods.begin(), options.methods.end(), [&](const std::string& method) {
           return enum_name(method) == enum_name(call.method());
         });
}

void print_entries(const std::vector<CallRecord>& calls, OutputFormat format) {
  for (const CallRecord& call : calls) {
    if (format == OutputFormat::json) {
      std::printf("%s\n", to_json(call, JsonLayout::line).c_str());
    } else {
      print_call(call);
    }
  }
  print("");
}

/// The entries above `request.after` that the options select. Moves `after` to the last one.
std::vector<CallRecord> read_entries(ControlClient& client, const JournalOptions& options,
                                     mock_kms::v1::ReadJournalRequest& request) {
  const auto page = client.call(request, &ControlClient::Stub::ReadJournal);
  std::vector<CallRecord> calls;
  for (const CallRecord& call : page.calls()) {
    if (selects(options, call)) calls.push_back(call);
    request.set_after(call.number());
  }
  return calls;
}

/// Waits for the provider that replaces the one whose journal was followed. A journal ends with its process.
ControlClient next_provider(const JournalOptions& options) {
  std::fprintf(stderr,
               "mock-kms-provider: the provider ended, and its journal with it; waiting for the next one\n");
  for (;; std::this_thread::sleep_for(next_provider_interval)) {
    try {
      ControlClient client(options);
      (void)client.call(mock_kms::v1::ListFaultsRequest(), &ControlClient::Stub::ListFaults);
      std::fprintf(stderr, "mock-kms-provider: a provider answers; its journal begins with number 1\n");
      return client;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unreachable) throw;
    }
  }
}

/// Prints new entries until a signal ends the program, across restarts of the provider.
[[noreturn]] void follow_journal(ControlClient client, const JournalOptions& options,
                                 mock_kms::v1::ReadJournalRequest request) {
  request.set_wait_milliseconds(1000);
  while (true) {
    try {
      print_entries(read_entries(client, options, request), options.format);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unreachable) throw;
      client = next_provider(options);
      request.set_after(0);
    }
  }
}

/// With --follow the earlier entries are left out, unless --since or --tail asks for them.
int print_calls(ControlClient& client, const JournalOptions& options) {
  mock_kms::v1::ReadJournalRequest request;
  auto calls = read_entries(client, options, request);
  if (options.format == OutputFormat::text) {
    std::printf("%6s %-24s %-9s %-19s %9s %8s %8s %10s  %s\n", "NUMBER", "AT", "METHOD", "CODE", "LATENCY",
                "REQUEST", "RESPONSE", "CONNECTION", "KEY_ID  UID  FAULT");
  }
  const std::size_t all = options.follow && !options.since ? 0 : calls.size();
  const std::size_t count = std::min(options.tail.value_or(all), calls.size());
  calls.erase(calls.begin(), calls.end() - static_cast<std::ptrdiff_t>(count));
  print_entries(calls, options.format);
  if (options.follow) follow_journal(std::move(client), options, request);
  return exit_code::ok;
}

int print_counts(ControlClient& client, const JournalOptions& options) {
  const auto counts = client.call(mock_kms::v1::CountCallsRequest(), &ControlClient::Stub::CountCalls);
  if (options.format == OutputFormat::json) {
    print(to_json(counts, JsonLayout::document));
    return exit_code::ok;
  }
  std::printf("%-9s %-19s %9s %9s\n", "METHOD", "CODE", "CALLS", "FAULTED");
  for (const auto& count : counts.counts()) {
    std::printf("%-9s %-19s %9llu %9llu\n", count.method().c_str(), count.code().c_str(),
                static_cast<unsigned long long>(count.calls()),
                static_cast<unsigned long long>(count.faulted()));
  }
  return exit_code::ok;
}

int print_summary(ControlClient& client, const JournalOptions& options) {
  const auto summary =
      summarize(client.call(mock_kms::v1::ReadJournalRequest(), &ControlClient::Stub::ReadJournal));
  print(options.format == OutputFormat::json ? to_json(summary, JsonLayout::document)
                                             : summary_text(summary));
  return exit_code::ok;
}

void print_plaintext(const char* method, const mock_kms::v1::LastPlaintext& last, bool reveal) {
  const std::string plaintext = reveal ? "  plaintext " + hex_of(bytes_of(last.plaintext())) : "";
  std::printf("%-7s uid %s  size %llu  sha256 %s%s\n", method, visible_text(last.uid()).c_str(),
              static_cast<unsigned long long>(last.size()),
              last.sha256().empty() ? "-" : last.sha256().c_str(), plaintext.c_str());
}

int print_plaintexts(ControlClient& client, const JournalOptions& options) {
  mock_kms::v1::LastPlaintextsRequest request;
  request.set_reveal(options.reveal);
  const auto reply = client.call(request, &ControlClient::Stub::LastPlaintexts);
  if (options.format == OutputFormat::json) {
    print(to_json(reply, JsonLayout::document));
    return exit_code::ok;
  }
  if (reply.has_encrypt()) print_plaintext("Encrypt", reply.encrypt(), options.reveal);
  if (reply.has_decrypt()) print_plaintext("Decrypt", reply.decrypt(), options.reveal);
  return exit_code::ok;
}

int run_journal(const JournalOptions& options) {
  ControlClient client(options);
  if (options.counts) return print_counts(client, options);
  if (options.summary) return print_summary(client, options);
  if (options.last || options.reveal) return print_plaintexts(client, options);
  return print_calls(client, options);
}

int run_metrics(const ProviderOptions& options) {
  const auto reply =
      ControlClient(options).call(mock_kms::v1::ReadMetricsRequest(), &ControlClient::Stub::ReadMetrics);
  print(reply.text());
  return exit_code::ok;
}

}  // namespace

Command journal_command(CommandLine& line) {
  const auto options = std::make_shared<JournalOptions>();
  CLI::App& command = line.add_subcommand(
      "journal", "List the last calls and how they ended, and the changes of the provider between them",
      {"mock-kms-provider journal --no-status --tail 20",
       "mock-kms-provider journal --method decrypt --since 1m", "mock-kms-provider journal --follow -o json",
       "mock-kms-provider journal --counts", "mock-kms-provider journal --summary"});
  add_provider_options(command, *options);
  CLI::Option* follow = command.add_flag(
      "--follow", options->follow,
      "Print new entries as they come, also of a provider that replaces this one, until interrupted");
  CLI::Option* method = command
                            .add_option("--method", options->methods,
                                        "Print only calls of status, encrypt or decrypt; repeatable or "
                                        "separated by commas")
                            ->check(CLI::IsMember({"status", "encrypt", "decrypt"}, CLI::ignore_case))
                            ->delimiter(',')
                            ->allow_extra_args(false);
  CLI::Option* no_status = command.add_flag("--no-status", options->no_status,
                                            "Leave out the calls of Status, such as a supervisor's probes");
  CLI::Option* since =
      add_duration(command, "--since", options->since, "Print only entries of this time back from now");
  CLI::Option* tail =
      command.add_option("--tail", options->tail, "Print only the last N entries [all; with --follow: none]");
  CLI::Option* counts =
      command.add_flag("--counts", options->counts, "Number of calls by method and code, since the start");
  CLI::Option* summary = command.add_flag(
      "--summary", options->summary,
      "The calls that the journal holds: number, p50 and p99 by method and code, and a sparkline");
  CLI::Option* last =
      command.add_flag("--last", options->last, "Digests of the last plaintexts of Encrypt and Decrypt");
  CLI::Option* reveal = command.add_flag("--reveal", options->reveal, "The same with the plaintexts, in hex");
  for (CLI::Option* view : {counts, summary, last, reveal}) {
    for (CLI::Option* filter : {follow, method, no_status, since, tail}) view->excludes(filter);
  }
  counts->excludes(summary)->excludes(last)->excludes(reveal);
  summary->excludes(last)->excludes(reveal);
  add_format(command, options->format);
  return {&command, [options] { return run_journal(*options); }};
}

Command metrics_command(CommandLine& line) {
  const auto options = std::make_shared<ProviderOptions>();
  CLI::App& command = line.add_subcommand("metrics", "Print the metrics in Prometheus' text format",
                                          {"mock-kms-provider metrics"});
  add_provider_options(command, *options);
  return {&command, [options] { return run_metrics(*options); }};
}

}  // namespace kms::provider
