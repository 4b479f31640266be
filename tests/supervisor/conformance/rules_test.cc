#include "supervisor/conformance/rules.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "supervisor/conformance/report.h"

namespace kms::supervisor::conformance {
namespace {

using namespace std::chrono_literals;

template <class Response>
Call<Response> answer(const char* method, Response response) {
  Call<Response> call;
  call.method = method;
  call.ended = Ended::answered;
  call.took = 1ms;
  call.response = std::move(response);
  return call;
}

template <class SomeCall>
void refuse(SomeCall& call, Refusal refusal, const std::string& cause) {
  call.ended = Ended::refused;
  call.refusal = refusal;
  call.cause = cause;
}

StatusCall status(const std::string& key_id = "key-1") {
  kms_v2_bytes::StatusResponse response;
  response.set_version("v2");
  response.set_healthz("ok");
  response.set_key_id(key_id);
  return answer("Status", response);
}

EncryptCall encrypt(const std::string& ciphertext) {
  kms_v2_bytes::EncryptResponse response;
  response.set_ciphertext(ciphertext);
  response.set_key_id("key-1");
  auto& annotation = *response.add_annotations();
  annotation.set_key("format.example.org");
  annotation.set_value("1");
  return answer("Encrypt", response);
}

DecryptCall decrypt(const std::string& plaintext) {
  kms_v2_bytes::DecryptResponse response;
  response.set_plaintext(plaintext);
  return answer("Decrypt", response);
}

/// The survey of a plugin that keeps all rules.
Observations good() {
  Observations seen;
  seen.timeout = 3s;
  seen.plaintext = std::string(32, 'p');
  for (int i = 0; i < 4; ++i) seen.statuses.push_back(status());
  for (const char* ciphertext : {"one", "two", "three"}) seen.encrypts.push_back(encrypt(ciphertext));
  seen.odd_uid = encrypt("four");
  seen.empty_uid.method = "Encrypt";
  refuse(seen.empty_uid, Refusal::bad_request, "INVALID_ARGUMENT: uid is empty");
  seen.decrypt = seen.decrypt_other_uid = decrypt(seen.plaintext);
  seen.tampered.push_back({"a flipped bit", decrypt("")});
  refuse(seen.tampered[0].call, Refusal::bad_request, "INVALID_ARGUMENT: no");
  seen.concurrent = {4, {status(), encrypt("five")}, 0};
  seen.decrypts = {4, {decrypt(seen.plaintext)}, 0};
  seen.renewed = status();
  return seen;
}

/// "10 MUST" for each rule that fails.
std::set<std::string> failing(const Observations& seen) {
  std::set<std::string> failing;
  for (const Rule& rule : rules()) {
    if (rule.judge(seen).verdict != Verdict::fail) continue;
    failing.insert(std::to_string(rule.number) + (rule.level == Level::must ? " MUST" : " SHOULD"));
  }
  return failing;
}

using Broken = std::set<std::string>;

Finding finding(int number, const Observations& seen) {
  for (const Rule& rule : rules()) {
    if (rule.number == number) return rule.judge(seen);
  }
  FAIL("there is no such rule");
  return {};
}

TEST_CASE("a plugin that keeps all rules breaks none, and every rule says what it saw") {
  const Observations seen = good();
  CHECK(failing(seen) == Broken{});
  for (const Rule& rule : rules()) {
    CAPTURE(rule.number);
    const Finding found = rule.judge(seen);
    CHECK_FALSE(found.seen.empty());
    CHECK(found.verdict != Verdict::not_applicable);
  }
}

TEST_CASE("rules without an answer to judge are not applicable, and none of them fails but rule 4") {
  Observations seen;
  seen.plaintext = std::string(32, 'p');
  seen.statuses.resize(4);
  seen.encrypts.resize(3);
  for (StatusCall& call : seen.statuses) call.ended = Ended::timed_out;
  CHECK(failing(seen) == Broken{"4 MUST"});
}

TEST_CASE("rule 14: in a rotation Encrypt may name the key_id of the Status before or after it") {
  Observations seen = good();
  seen.statuses[2] = status("key-2");
  seen.statuses[3] = status("key-2");
  seen.encrypts[2].response.set_key_id("key-2");
  CHECK(failing(seen) == Broken{});
  seen.encrypts[2].response.set_key_id("key-1");
  CHECK(failing(seen) == Broken{"14 MUST"});
}

TEST_CASE("rule 15: a key_id may change, but not back") {
  Observations seen = good();
  seen.statuses[3] = status("key-2");
  CHECK(failing(seen) == Broken{});
  seen.statuses[1] = status("key-0");
  CHECK(failing(seen) == Broken{"15 SHOULD"});
}

TEST_CASE("rule 13 and 22: a key_id has 1 to 1024 bytes of UTF-8") {
  for (const auto& [id, good_one] : {std::pair{std::string(1024, 'k'), true},
                                     {std::string(1025, 'k'), false},
                                     {std::string(), false},
                                     {std::string("\xC3\x28"), false},
                                     {std::string("\xC3\xBC"), true}}) {
    const std::string& key_id = id;  // clang 14 captures no structured binding
    CAPTURE(key_id.size());
    Observations seen = good();
    for (StatusCall& call : seen.statuses) call.response.set_key_id(key_id);
    for (EncryptCall& call : seen.encrypts) call.response.set_key_id(key_id);
    CHECK(failing(seen) == (good_one ? Broken{} : Broken{"13 MUST", "22 MUST"}));
  }
}

TEST_CASE("rule 20: a ciphertext has 1 to 1024 bytes") {
  for (const auto& [bytes, good_one] : {std::pair{0, false}, {1, true}, {1024, true}, {1025, false}}) {
    const int size = bytes;
    CAPTURE(size);
    Observations seen = good();
    seen.encrypts[1].response.set_ciphertext(std::string(static_cast<std::size_t>(size), 'c'));
    CHECK(failing(seen) == (good_one ? Broken{} : Broken{"20 MUST"}));
  }
}

TEST_CASE("rule 23: annotations are named by domain names of two labels or more") {
  const std::string label(63, 'a');
  for (const auto& [name, good_one] :
       {std::pair{std::string("a.b"), true},
        {"a.b.", true},
        {"1-2.b", true},
        {label + "." + label, true},
        {label + "a.b", false},
        {"a", false},
        {"a.", false},
        {"", false},
        {".", false},
        {"a..b", false},
        {".a.b", false},
        {"a.b..", false},
        {"-a.b", false},
        {"a-.b", false},
        {"A.b", false},
        {"a_b.c", false},
        {label + "." + label + "." + label + "." + label.substr(0, 61), true},
        {label + "." + label + "." + label + "." + label.substr(0, 62), false}}) {
    const std::string& key = name;
    CAPTURE(key);
    Observations seen = good();
    seen.encrypts[0].response.mutable_annotations(0)->set_key(key);
    CHECK(failing(seen) == (good_one ? Broken{} : Broken{"23 MUST"}));
  }
}

TEST_CASE("rule 23: names and values of annotations have 32 KiB together") {
  Observations seen = good();
  auto& annotation = *seen.encrypts[0].response.mutable_annotations(0);
  annotation.set_value(std::string(32 * 1024 - annotation.key().size(), 'v'));
  CHECK(failing(seen) == Broken{});
  annotation.mutable_value()->push_back('v');
  CHECK(failing(seen) == Broken{"23 MUST"});
}

TEST_CASE("rule 24: the plaintext is found in annotations in hex and base64 too") {
  for (const std::string& form :
       {std::string(32, 'p'), std::string("cHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHA="),
        std::string("7070707070707070707070707070707070707070707070707070707070707070")}) {
    Observations seen = good();
    seen.encrypts[2].response.mutable_annotations(0)->set_value("<" + form + ">");
    CHECK(failing(seen) == Broken{"24 SHOULD"});
  }
}

TEST_CASE("rule 30 tells garbage from a plaintext that came back in spite of a change") {
  Observations seen = good();
  seen.tampered[0].call = decrypt("garbage");
  CHECK(finding(30, seen).seen == "with a flipped bit it answered with garbage");
  seen.tampered[0].call = decrypt(seen.plaintext);
  CHECK(finding(30, seen).seen == "with a flipped bit it still gave the plaintext");
  CHECK(failing(seen) == Broken{"30 SHOULD"});
}

TEST_CASE("rule 31: a wrong plaintext in the burst counts") {
  Observations seen = good();
  seen.decrypts.wrong = 1;
  CHECK(failing(seen) == Broken{"31 SHOULD"});
}

TEST_CASE("a plugin's words are shown printable and cut") {
  Observations seen = good();
  seen.statuses[0].response.set_healthz("\x1B[2J" + std::string(1000, 'x'));
  const Finding found = finding(12, seen);
  CHECK(found.seen.find("\\x1b[2J") != std::string::npos);
  CHECK(found.seen.size() < 150);
}

TEST_CASE("a report conforms while no MUST is broken") {
  Observations seen = good();
  seen.statuses[3] = status("key-0");
  seen.statuses[2] = status("key-3");
  seen.statuses[1] = status("key-0");
  CHECK(failing(seen).contains("15 SHOULD"));
  seen.encrypts.resize(1);
  CHECK(report_on(seen).conforms());
  seen.decrypt = decrypt("other");
  CHECK_FALSE(report_on(seen).conforms());
}

}  // namespace
}  // namespace kms::supervisor::conformance
