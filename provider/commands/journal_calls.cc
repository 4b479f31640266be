#include "provider/commands/journal_calls.h"

#include <google/protobuf/util/time_util.h>

#include <cstdio>

#include "common/cli/exit_code.h"
#include "common/crypto/bytes.h"
#include "common/text/escape.h"
#include "common/text/protobuf.h"
#include "provider/commands/control_client.h"

namespace kms::provider {
namespace {

using google::protobuf::util::TimeUtil;
using mock_kms::v1::CallRecord;

void print(const CallRecord& call, const std::string& output) {
  if (output == "json") {
    std::printf("%s\n", to_json(call, JsonLayout::line).c_str());
    return;
  }
  auto at = call.at();
  at.set_nanos(at.nanos() / 1'000'000 * 1'000'000);
  std::printf("%6llu %s ", static_cast<unsigned long long>(call.number()), TimeUtil::ToString(at).c_str());
  if (!call.event().empty()) {
    std::printf("-- %s\n", visible_text(call.event()).c_str());
    return;
  }
  const Duration latency{TimeUtil::DurationToNanoseconds(call.latency())};
  std::printf("%-7s %-19s %9s %6llu %6llu %4llu  %s  %s%s%s\n", call.method().c_str(), call.code().c_str(),
              human_duration(latency).c_str(), static_cast<unsigned long long>(call.request_bytes()),
              static_cast<unsigned long long>(call.response_bytes()),
              static_cast<unsigned long long>(call.connection()),
              call.key_id().empty() ? "-" : visible_text(call.key_id()).c_str(),
              call.uid().empty() ? "-" : visible_text(call.uid()).c_str(),
              call.fault().empty() ? "" : "  fault: ", visible_text(call.fault()).c_str());
}

int print_calls(ControlClient& client, const ControlOptions& control, bool follow) {
  if (control.output == "text") {
    std::printf("%6s %-24s %-7s %-19s %9s %6s %6s %4s  %s\n", "NUMBER", "AT", "METHOD", "CODE", "TOOK",
                "ASKED", "GAVE", "CONN", "KEY ID  UID  FAULT");
  }
  mock_kms::v1::ReadJournalRequest request;
  for (;;) {
    const auto page = client.call(request, &ControlClient::Stub::ReadJournal);
    for (const CallRecord& call : page.calls()) {
      print(call, control.output);
      request.set_after(call.number());
    }
    std::fflush(stdout);
    if (!follow) return exit_code::ok;
    request.set_wait_milliseconds(1000);
  }
}

int print_counts(ControlClient& client, const ControlOptions& control) {
  const auto counts = client.call(mock_kms::v1::CountCallsRequest(), &ControlClient::Stub::CountCalls);
  if (control.output == "json") {
    std::printf("%s", to_json(counts, JsonLayout::document).c_str());
    return exit_code::ok;
  }
  std::printf("%-7s %-19s %9s %9s\n", "METHOD", "CODE", "CALLS", "FAULTED");
  for (const auto& count : counts.counts()) {
    std::printf("%-7s %-19s %9llu %9llu\n", count.method().c_str(), count.code().c_str(),
                static_cast<unsigned long long>(count.calls()),
                static_cast<unsigned long long>(count.faulted()));
  }
  return exit_code::ok;
}

void print_last(const char* method, const mock_kms::v1::LastPlaintext& last, bool reveal) {
  const std::string plaintext = reveal ? "  plaintext " + hex_of(bytes_of(last.plaintext())) : "";
  std::printf("%-7s uid %s  size %llu  sha256 %s%s\n", method, visible_text(last.uid()).c_str(),
              static_cast<unsigned long long>(last.size()),
              last.sha256().empty() ? "-" : last.sha256().c_str(), plaintext.c_str());
}

int print_plaintexts(ControlClient& client, const ControlOptions& control, bool reveal) {
  mock_kms::v1::LastPlaintextsRequest request;
  request.set_reveal(reveal);
  const auto reply = client.call(request, &ControlClient::Stub::LastPlaintexts);
  if (control.output == "json") {
    std::printf("%s", to_json(reply, JsonLayout::document).c_str());
    return exit_code::ok;
  }
  if (reply.has_encrypt()) print_last("Encrypt", reply.encrypt(), reveal);
  if (reply.has_decrypt()) print_last("Decrypt", reply.decrypt(), reveal);
  return exit_code::ok;
}

}  // namespace

int call_journal(const ControlOptions& control, const JournalOptions& options) {
  ControlClient client(control);
  if (options.counts) return print_counts(client, control);
  if (options.last || options.reveal) return print_plaintexts(client, control, options.reveal);
  return print_calls(client, control, options.follow);
}

int call_metrics(const ControlOptions& control) {
  const auto reply =
      ControlClient(control).call(mock_kms::v1::ReadMetricsRequest(), &ControlClient::Stub::ReadMetrics);
  std::printf("%s", reply.text().c_str());
  return exit_code::ok;
}

}  // namespace kms::provider
