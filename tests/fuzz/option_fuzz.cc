// The parsers of options take any text: durations, HOST:PORT, socket modes. An accepted value prints as it
// reads.
#include "common/net/http_server.h"
#include "common/net/unix_listener.h"
#include "common/text/time.h"
#include "tests/fuzz/input.h"

namespace {

using kms::fuzz::expect;

void try_duration(const std::string& text) {
  const auto parsed = kms::parse_duration(text);
  if (!parsed) return kms::fuzz::expect_good(parsed.error());
  const auto duration = *parsed;
  expect(duration >= kms::Duration{0}, "no time is less than none");
  expect(!kms::human_duration(duration).empty(), "people can read it");
  const auto again = kms::parse_duration(kms::go_duration(duration));
  expect(again.ok(), "what is written can be read");
  // Fractions are read as doubles, which hold 53 bits.
  const auto difference = *again - duration;
  expect(std::chrono::abs(difference) <= duration / (1LL << 50U), "it reads as the same");
}

void try_metrics_address(const std::string& text) {
  const auto parsed = kms::TcpAddress::parse(text);
  if (!parsed) return kms::fuzz::expect_good(parsed.error());
  const auto& address = *parsed;
  expect(!address.port.empty() && address.port.size() <= text.size(), "a port is a part of the text");
  expect(address.port.find_first_not_of("0123456789") == std::string::npos, "a port is a number");
}

void try_socket_mode(const std::string& text) {
  const auto parsed = kms::parse_socket_mode(text);
  if (!parsed) return kms::fuzz::expect_good(parsed.error());
  expect(*parsed <= 0777, "a mode has nine bits");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text = kms::fuzz::text_of_input(data, size);
  try_duration(text);
  try_metrics_address(text);
  try_socket_mode(text);
  return 0;
}
