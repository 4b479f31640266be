#include "common/log/log.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/error.h"
#include "common/log/termination_message.h"
#include "common/text/escape.h"
#include "common/text/time.h"

using kms::json_string;
using kms::log::Field;

TEST_CASE("a JSON string is escaped as RFC 8259 asks, and what is no UTF-8 is replaced") {
  CHECK(json_string("plain") == R"("plain")");
  CHECK(json_string("a\"b\\c\nd\x01") == R"("a\"b\\c\u000ad\u0001")");
  CHECK(json_string("\xC3\xA4\xF0\x9F\x98\x80") == "\"\xC3\xA4\xF0\x9F\x98\x80\"");
  CHECK(json_string("x\xFFy") == "\"x\xEF\xBF\xBDy\"");
  CHECK(json_string("\xC3") == "\"\xEF\xBF\xBD\"");                          // cut off
  CHECK(json_string("\xC0\xAF") == "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");          // overlong
  CHECK(json_string("\xED\xA0\x80").find("\xED\xA0") == std::string::npos);  // a surrogate
  CHECK(json_string("\xC2\x9B\xC2\xA0") == "\"\\u009b\xC2\xA0\"");
}

TEST_CASE("a terminal obeys no quoted text, not even U+009B, which some take for an escape") {
  CHECK(kms::visible_text("\x1b[2J\xC2\x9B\xC3\x9B") == "\\x1b[2J\\xc2\\x9b\xC3\x9B");
  CHECK(std::string(kms::Error("cannot read \xC2\x9B").what()) == "cannot read ??");
  CHECK(Field("key", "a\xC2\x9B").text() == "key=\"a\\u009b\"");
}

TEST_CASE("a termination message is short, well-formed UTF-8 without control characters") {
  CHECK(kms::termination_text("cause\n| \x1b[31mred\x7f \xE9 \xC2\x9B\n") ==
        "cause\n| ?[31mred? \xEF\xBF\xBD ??\n");
  CHECK(kms::termination_text(std::string(5000, 'x')).size() == kms::max_termination_message);
  CHECK(kms::termination_text(std::string(5000, '\xFF')).size() <= kms::max_termination_message);
  CHECK(kms::termination_text("ab\xC3\xA4", 3) == "ab");
  CHECK(kms::termination_text("ab\xC3\xA4", 4) == "ab\xC3\xA4");
}

TEST_CASE("a field stands bare in text where it can and in quotes where it must") {
  CHECK(Field("pid", 12).text() == "pid=12");
  CHECK(Field("pid", 12).json() == "\"pid\":12");
  CHECK(Field("ok", true).json() == "\"ok\":true");
  CHECK(Field("path", "/a/b").text() == "path=/a/b");
  CHECK(Field("cause", "it broke").text() == "cause=\"it broke\"");
  CHECK(Field("empty", "").text() == "empty=\"\"");
  CHECK(Field("cause", "it broke").json() == "\"cause\":\"it broke\"");
}

TEST_CASE("times are RFC 3339 in UTC with milliseconds") {
  using namespace std::chrono;
  CHECK(kms::rfc3339(system_clock::time_point(1700000100123ms)) == "2023-11-14T22:15:00.123Z");
  CHECK(kms::rfc3339(system_clock::time_point(-1ms)) == "1969-12-31T23:59:59.999Z");
}

namespace {

/// The log lines that `write` makes, caught before stderr.
std::vector<std::string> lines_of(kms::log::Format format, kms::log::Level least, void (*write)()) {
  std::vector<std::string> lines;
  kms::log::configure("tester", least, format);
  kms::log::redirect([&](std::string line) { lines.push_back(std::move(line)); });
  write();
  kms::log::redirect({});
  kms::log::configure("mock-kms", kms::log::Level::info, kms::log::Format::text);
  return lines;
}

constexpr std::size_t time_length = std::char_traits<char>::length("2026-11-22T14:50:01.123Z");

}  // namespace

TEST_CASE(
    "a line holds time, level, program, message and fields, and only lines of the least level are written") {
  const auto write = [] {
    kms::log::info("unheard");
    kms::log::warning("two\nlines", {{"pid", 12}});
  };
  const auto text = lines_of(kms::log::Format::text, kms::log::Level::warning, write);
  REQUIRE(text.size() == 1);
  CHECK(text[0].substr(time_length) == " warning tester: two lines pid=12");
  const auto json = lines_of(kms::log::Format::json, kms::log::Level::info, write);
  REQUIRE(json.size() == 2);
  const std::string head = R"({"time":")";
  CHECK(json[0].starts_with(head));
  CHECK(json[1].substr(head.size() + time_length) ==
        R"(","level":"warning","program":"tester","message":"two\u000alines","pid":12})");
}

TEST_CASE("a termination message that cannot be written is logged, as on a full disk") {
  const auto lines = lines_of(kms::log::Format::text, kms::log::Level::warning, [] {
    const auto file = std::filesystem::temp_directory_path() / ("termination-" + std::to_string(::getpid()));
    std::ofstream(file).close();
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit none{0, before.rlim_max};
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &none);
    kms::write_termination_message(file, "the cause");
    ::setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    std::filesystem::remove(file);
    kms::write_termination_message(file, "nobody reads this: the file does not exist");
  });
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("cannot write the termination message") != std::string::npos);
  CHECK(lines[0].find("File too large") != std::string::npos);
}
