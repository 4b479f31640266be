// RepositoryUrl::parse() and without_logins() take any text. No message has a part of a login.
#include <fuzzer/FuzzedDataProvider.h>

#include "builder/source/repository_url.h"
#include "common/text/logins.h"
#include "tests/fuzz/input.h"

namespace {

constexpr std::string_view secret = "MARK";

/// A path may hold an @. A scheme is shown.
bool has_no_login(std::string_view text) {
  return text.starts_with("file://") || text.starts_with("./") || text.starts_with("../") ||
         (text.starts_with('/') && !text.starts_with("//")) ||
         text.substr(0, text.find("://")).find(secret) != std::string_view::npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using kms::builder::RepositoryUrl;
  FuzzedDataProvider input(data, size);
  const std::string before = input.ConsumeRandomLengthString(40);
  const std::string inside = input.ConsumeRandomLengthString(20);
  const std::string after = input.ConsumeRemainingBytesAsString();
  const std::string text = before + std::string(secret) + inside + "@" + after;
  const auto parsed = RepositoryUrl::parse(text);
  if (!parsed) kms::fuzz::expect_good(parsed.error());
  const bool only_a_name = parsed && parsed->kind() == RepositoryUrl::Kind::ssh && parsed->password().empty();
  if (has_no_login(text) || only_a_name || after.find(secret) != std::string::npos) return 0;
  const std::string shown =
      parsed ? parsed->display() + parsed->scrub("cannot reach '" + text + "'") : parsed.error().line();
  kms::fuzz::expect(shown.find(secret) == std::string::npos, "no message has a part of a login");
  if (text.starts_with("https://") && text.find_first_of(" \t\r\n") == std::string::npos) {
    kms::fuzz::expect(kms::without_logins("cannot reach " + text).find(secret) == std::string::npos,
                      "a log line has no login");
  }
  return 0;
}
