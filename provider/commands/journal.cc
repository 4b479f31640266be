// `journal` shows the last calls, their counts or the last plaintexts; `metrics` prints all counters.
#include <google/protobuf/util/time_util.h>

#include <cstdio>

#include "common/cli/exit_code.h"
#include "common/crypto/bytes.h"
#include "common/text/escape.h"
#include "common/text/protobuf.h"
#include "provider/commands/client.h"
#include "provider/commands/commands.h"

namespace kms::provider {
namespace {

using mock_kms::v1::CallRecord;

struct JournalOptions : ProviderOptions {
  bool follow = false;
  bool counts = false;
  bool last = false;
  bool reveal = false;
  OutputFormat format = OutputFormat::text;
};

void print_call(const CallRecord& call) {
  using google::protobuf::util::TimeUtil;
  auto at = call.at();
  at.set_nanos(at.nanos() / 1'000'000 * 1'000'000);
  std::printf("%6llu %s ", static_cast<unsigned long long>(call.number()), TimeUtil::ToString(at).c_str());
  if (!call.event().empty()) {
    std::printf("-- %s\n", visible_text(call.event()).c_str());
    return;
  }
  std::printf("%-9s %-19s %9s %6llu %6llu %4llu  %s  %s%s%s\n", call.method().c_str(), call.code().c_str(),
              human_duration(from_proto(call.latency())).c_str(),
              static_cast<unsigned long long>(call.request_bytes()),
              static_cast<unsigned long long>(call.response_bytes()),
              static_cast<unsigned long long>(call.connection()),
              call.key_id().empty() ? "-" : visible_text(call.key_id()).c_str(),
              call.uid().empty() ? "-" : visible_text(call.uid()).c_str(),
              call.fault().empty() ? "" : "  fault: ", visible_text(call.fault()).c_str());
}

/// With --follow it goes on until a signal ends the program, or until the provider ends.
int print_calls(ControlClient& client, const JournalOptions& options) {
  const bool json = options.format == OutputFormat::json;
  if (!json) {
    std::printf("%6s %-24s %-9s %-19s %9s %6s %6s %4s  %s\n", "NUMBER", "AT", "METHOD", "CODE", "TOOK",
                "ASKED", "GAVE", "CONN", "KEY ID  UID  FAULT");
  }
  mock_kms::v1::ReadJournalRequest request;
  for (;;) {
    const auto page = client.call(request, &ControlClient::Stub::ReadJournal);
    for (const CallRecord& call : page.calls()) {
      if (json) {
        std::printf("%s\n", to_json(call, JsonLayout::line).c_str());
      } else {
        print_call(call);
      }
      request.set_after(call.number());
    }
    print("");
    if (!options.follow) return exit_code::ok;
    request.set_wait_milliseconds(1000);
  }
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
      "journal", "Show the last calls and their results",
      {"mock-kms-provider journal --follow -o json", "mock-kms-provider journal --counts"});
  add_provider_options(command, *options);
  CLI::Option* follow = command.add_flag("--follow", options->follow, "Go on with new calls as they come");
  command.add_flag("--counts", options->counts, "Number of calls by method and code, since the start")
      ->excludes(follow);
  command.add_flag("--last", options->last, "Digests of the last plaintexts of Encrypt and Decrypt")
      ->excludes(follow);
  command.add_flag("--reveal", options->reveal, "The same with the plaintexts, in hex")->excludes(follow);
  add_format(command, options->format);
  return {&command, [options] { return run_journal(*options); }};
}

Command metrics_command(CommandLine& line) {
  const auto options = std::make_shared<ProviderOptions>();
  CLI::App& command = line.add_subcommand("metrics", "Print the metrics as Prometheus would scrape them",
                                          {"mock-kms-provider metrics"});
  add_provider_options(command, *options);
  return {&command, [options] { return run_metrics(*options); }};
}

}  // namespace kms::provider
