#include "provider/journal/journal.h"

#include <doctest/doctest.h>

#include <string>

#include "common/text/protobuf.h"

namespace kms::provider {
namespace {

using namespace std::chrono_literals;
using Method = Journal::Method;

void add(Journal& journal, Method method, int code = 0, std::string_view uid = "u",
         std::string_view fault = "", Journal::Clock::time_point came = Journal::Clock::now()) {
  journal.add({method, code, uid, "key", 1, 2, came, fault});
}

mock_kms::v1::JournalPage read(Journal& journal, std::uint64_t after = 0) {
  mock_kms::v1::JournalPage page;
  journal.read(after, page);
  return page;
}

TEST_CASE("the journal holds what a call was about and how it ended") {
  Journal journal;
  add(journal, Method::decrypt, 5, "uid-1", "flaky");
  const auto page = read(journal);
  REQUIRE(page.calls_size() == 1);
  const auto& call = page.calls(0);
  CHECK(call.number() == 1);
  CHECK(call.method() == "Decrypt");
  CHECK(call.code() == "NOT_FOUND");
  CHECK(call.uid() == "uid-1");
  CHECK(call.key_id() == "key");
  CHECK(call.fault() == "flaky");
  CHECK(call.request_bytes() == 1);
  CHECK(call.response_bytes() == 2);
}

TEST_CASE("good calls of Status do not push other calls out") {
  Journal journal;
  const auto now = Journal::Clock::now();
  add(journal, Method::encrypt, 14, "u", "", now);
  journal.note("rotated");
  for (int i = 0; i < 2500; ++i) add(journal, Method::status, 0, "u", "", now);
  const auto page = read(journal);
  REQUIRE(page.calls_size() == 1002);
  CHECK(page.calls(0).method() == "Encrypt");
  CHECK(page.calls(1).event() == "rotated");
  CHECK(page.calls(2).number() == 1503);
  mock_kms::v1::CallCounts counts;
  journal.count_since(now - 1min, counts);
  CHECK(!counts.incomplete());
  CHECK(counts.status_incomplete());
}

TEST_CASE("of many calls the last thousand stay, and all are counted") {
  Journal journal;
  for (int i = 0; i < 2500; ++i) add(journal, Method::encrypt, i % 5 == 0 ? 14 : 0);
  const auto page = read(journal);
  CHECK(page.calls_size() == 1000);
  CHECK(page.calls(0).number() == 1501);
  CHECK(page.calls(999).number() == 2500);
  CHECK(read(journal, 2498).calls_size() == 2);
  CHECK(read(journal, 9999).calls_size() == 0);
  mock_kms::v1::CallCounts counts;
  journal.count_all(counts);
  REQUIRE(counts.counts_size() == 2);
  CHECK(counts.counts(0).calls() == 2000);
  CHECK(counts.counts(1).code() == "UNAVAILABLE");
  CHECK(counts.counts(1).calls() == 500);
}

TEST_CASE("counting back in time says when the journal does not reach as far") {
  Journal journal;
  const auto now = Journal::Clock::now();
  add(journal, Method::status, 0, "u", "", now - 1h);
  add(journal, Method::status, Journal::hung, "u", "f", now);
  mock_kms::v1::CallCounts counts;
  journal.count_since(now - 1min, counts);
  REQUIRE(counts.counts_size() == 1);
  CHECK(counts.counts(0).code() == "HUNG");
  CHECK(counts.counts(0).faulted() == 1);
  CHECK(!counts.incomplete());
  for (int i = 0; i < 1001; ++i) add(journal, Method::encrypt);
  journal.count_since(now - 2h, counts);
  CHECK(counts.incomplete());
}

TEST_CASE("a slow call that outlived those around it does not hide that they were forgotten") {
  Journal journal;
  const auto now = Journal::Clock::now();
  for (int i = 0; i < 2; ++i) add(journal, Method::encrypt, 0, "u", "", now);
  add(journal, Method::decrypt, 0, "slow", "", now - 1h);
  for (int i = 0; i < 999; ++i) add(journal, Method::encrypt, 0, "u", "", now);
  mock_kms::v1::CallCounts counts;
  journal.count_since(now - 1min, counts);
  CHECK(counts.incomplete());
}

TEST_CASE("long texts are cut between characters, and bytes that are no text are replaced in key ids") {
  Journal journal;
  std::string uid = "x";
  for (int i = 0; i < 100; ++i) uid += "\xC3\xBC";  // ü
  journal.add({Method::status, 0, uid, "\xC3(", 0, 0, Journal::Clock::now(), ""});
  const auto page = read(journal);
  CHECK(page.calls(0).uid() == uid.substr(0, 127));
  CHECK(page.calls(0).key_id() == "?(");
}

TEST_CASE("the last plaintexts are shown by their digest, and as they are when asked for") {
  Journal journal;
  mock_kms::v1::LastPlaintextsReply reply;
  journal.last_plaintexts(true, reply);
  CHECK(!reply.has_encrypt());
  journal.remember(Method::encrypt, "one", bytes_of("something"));
  journal.remember(Method::encrypt, "two", bytes_of("abc"));
  journal.last_plaintexts(false, reply);
  CHECK(reply.encrypt().uid() == "two");
  CHECK(reply.encrypt().plaintext().empty());
  // FIPS 180-2, appendix B.1
  CHECK(reply.encrypt().sha256() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  journal.last_plaintexts(true, reply);
  CHECK(reply.encrypt().plaintext() == "abc");
  journal.remember(Method::encrypt, "three", bytes_of(std::string(100'000, 'x')));
  reply.Clear();
  journal.last_plaintexts(true, reply);
  CHECK(reply.encrypt().size() == 100'000);
  CHECK(reply.encrypt().sha256().empty());
}

TEST_CASE("in JSON all integers are numbers, bytes are base64 and unset fields show only if asked for") {
  mock_kms::v1::CallRecord call;
  call.set_number(9'007'199'254'740'993);  // no double holds it
  call.set_uid("a \"b\"\n");
  *call.mutable_latency() = to_proto(1500us);
  CHECK(to_short_json(call) == R"({"number":9007199254740993,"uid":"a \"b\"\u000a","latency":"0.001500s"})");
  const std::string whole = to_json(call, JsonLayout::line);
  CHECK(whole.find(R"("connection":0,"event":"")") != std::string::npos);
  mock_kms::v1::CallRecord read;
  REQUIRE(from_json(to_json(call, JsonLayout::document), read).ok());
  CHECK(read.number() == call.number());
  CHECK(read.uid() == call.uid());
  mock_kms::v1::LastPlaintext last;
  CHECK(to_json(last, JsonLayout::line) == R"({"uid":"","size":0,"sha256":""})");
  last.set_plaintext("a\xff");
  CHECK(to_short_json(last, JsonLayout::document) == "{\n \"plaintext\": \"Yf8=\"\n}\n");
  mock_kms::v1::CallCounts counts;
  CHECK(to_json(counts, JsonLayout::document) ==
        "{\n \"counts\": [],\n \"incomplete\": false,\n \"statusIncomplete\": false\n}\n");
}

}  // namespace
}  // namespace kms::provider
