#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "common/crypto/bytes.h"
#include "provider/keys/key_ring.h"

using namespace kms;
using namespace kms::provider;

namespace {

const std::string digits = "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100";

std::string refusal(std::string_view content) {
  const auto outcome = parse_seed(bytes_of(content), "/f");
  return outcome.ok() ? "accepted" : outcome.error().line();
}

bool mentions(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a seed is 32 bytes, whatever they are, or 64 hexadecimal digits") {
  const std::string raw("\0\n raw bytes, thirty-two of them\xff", 32);
  const auto from_raw = parse_seed(bytes_of(raw), "/f");
  REQUIRE(from_raw.ok());
  CHECK(text_of(from_raw->view()) == raw);

  const auto from_digits = parse_seed(bytes_of(digits), "/f");
  REQUIRE(from_digits.ok());
  CHECK(hex_of(from_digits->view()) == "00112233445566778899aabbccddeeffffeeddccbbaa99887766554433221100");
}

TEST_CASE("a seed of any other form is refused with the reason") {
  CHECK(mentions(refusal(""), "/f is empty"));
  CHECK(mentions(refusal(digits + "\n"),
                 "holds 65 bytes: 64 hex digits followed by a newline; write it with printf '%s'"));
  CHECK(mentions(refusal(digits + "\r\n"), "followed by a carriage return and a newline"));
  CHECK(mentions(refusal(std::string(32, 'x') + "\n"), "holds 33 bytes: 32 bytes followed by a newline"));
  CHECK(mentions(refusal("0x" + digits), "without 0x"));
  CHECK(mentions(refusal(std::string(64, 'g')), "not all hexadecimal digits"));
  CHECK(mentions(refusal(digits.substr(1)), "holds 63 bytes"));
  CHECK(mentions(refusal(std::string(31, 'x')), "holds 31 bytes"));
  CHECK(mentions(refusal("\n"), "holds 1 bytes"));
}

TEST_CASE("no refusal shows what the file holds") {
  for (const std::string& content : {digits + "\n", "0x" + digits, "s3cr3t" + digits, digits.substr(2)}) {
    CHECK_FALSE(mentions(refusal(content), "8899aabb"));
    CHECK_FALSE(mentions(refusal(content), "s3cr3t"));
  }
}

TEST_CASE("a seed file that cannot be read is refused with the cause") {
  char directory[] = "/tmp/kmsXXXXXX";
  REQUIRE(::mkdtemp(directory) != nullptr);
  const std::string path = std::string(directory) + "/seed";
  const auto refused = [](const std::string& file) {
    const auto outcome = read_seed_file(file);
    return outcome.ok() ? "accepted" : outcome.error().line();
  };
  CHECK(mentions(refused(path), "No such file or directory"));
  CHECK(mentions(refused(directory), "is a directory"));
  std::ofstream(path) << std::string(5000, 'a');
  CHECK(mentions(refused(path), "4096 bytes or more"));
  std::ofstream(path, std::ios::trunc) << digits;
  CHECK(refused(path) == "accepted");
  std::filesystem::remove_all(directory);
}
