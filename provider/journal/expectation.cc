#include "provider/journal/expectation.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include "common/text/nearest.h"
#include "common/text/protobuf.h"
#include "proto/provider_faults.pb.h"

namespace kms::provider {
namespace {

constexpr auto form = "write it as 'decrypt == 0 since start' or 'status.UNAVAILABLE >= 3 since 30s'";
constexpr std::array<std::string_view, 6> operators{"==", "!=", "<", "<=", ">", ">="};

Error bad(std::string_view text, const std::string& why) {
  return {"cannot expect '" + std::string(text) + "': " + why, form};
}

/// The words of a text. An operator is one, also without blanks around it.
std::vector<std::string> words_of(std::string_view text) {
  const auto is_operator = [](char c) { return std::string_view("=!<>").find(c) != std::string_view::npos; };
  std::vector<std::string> words;
  char before = ' ';
  for (const char c : text) {
    if (c != ' ') {
      if (before == ' ' || is_operator(c) != is_operator(before)) words.emplace_back();
      words.back() += c;
    }
    before = c;
  }
  return words;
}

constexpr std::array<const char*, 7> countable_methods{"Status",    "Encrypt",   "Decrypt", "V1Version",
                                                       "V1Encrypt", "V1Decrypt", "Other"};

/// "Decrypt" for "decrypt" in any case; empty for an unknown method.
std::optional<std::string> method_named(const std::string& word) {
  const auto* const found =
      std::find_if(countable_methods.begin(), countable_methods.end(),
                   [&](const char* name) { return enum_name(name) == enum_name(word); });
  if (found == countable_methods.end()) return std::nullopt;
  return *found;
}

std::string did_you_mean_method(const std::string& word) {
  std::vector<std::string> words{"all"};
  for (const char* name : countable_methods) words.push_back(enum_word(name));
  return did_you_mean(enum_word(word), words);
}

/// Beside gRPC's codes.
std::string did_you_mean_code(const std::string& word) {
  const std::string near = did_you_mean(enum_word(word), {"faulted", "hung"});
  return near.empty() ? did_you_mean_value(enum_name(word), *mock_kms::v1::Fault::Code_descriptor()) : near;
}

}  // namespace

Outcome<Expectation> Expectation::parse(std::string_view text) {
  const auto words = words_of(text);
  if (words.size() != 3 && words.size() != 5) {
    return bad(text, "it does not have three words, or five with 'since'");
  }
  Expectation expectation;
  if (const auto calls = expectation.parse_calls(text, words[0]); !calls) return calls.error();
  expectation.operator_ = words[1];
  if (std::find(operators.begin(), operators.end(), words[1]) == operators.end()) {
    return bad(text, "'" + words[1] + "' is not one of == != < <= > >=");
  }
  const char* const end = words[2].data() + words[2].size();
  if (const auto [stop, error] = std::from_chars(words[2].data(), end, expectation.number_);
      error != std::errc{} || stop != end) {
    return bad(text, "'" + words[2] + "' is not a number of calls");
  }
  if (words.size() == 3) return expectation;
  if (enum_name(words[3]) != "SINCE") return bad(text, "'" + words[3] + "' is not 'since'");
  if (enum_name(words[4]) == "START") return expectation;
  const auto since = parse_duration(words[4]);
  if (!since) return bad(text, since.error().cause());
  expectation.since_ = *since;
  return expectation;
}

/// Reads "decrypt" or "decrypt.NOT_FOUND".
Outcome<> Expectation::parse_calls(std::string_view text, const std::string& word) {
  const auto dot = word.find('.');
  if (const std::string what = word.substr(0, dot); enum_name(what) != "ALL") {
    const auto method = method_named(what);
    if (!method)
      return bad(text, "'" + what +
                           "' is not status, encrypt, decrypt, v1version, v1encrypt, v1decrypt, other "
                           "or all" +
                           did_you_mean_method(what));
    method_ = *method;
  }
  if (dot == std::string::npos) return {};
  const std::string code = enum_name(word.substr(dot + 1));
  faulted_ = code == "FAULTED";
  if (faulted_) return {};
  mock_kms::v1::Fault::Code parsed{};
  if (code != "HUNG" && !mock_kms::v1::Fault::Code_Parse(code, &parsed)) {
    return bad(text, "gRPC has no code '" + word.substr(dot + 1) + "'" + did_you_mean_code(code));
  }
  code_ = code;
  return {};
}

std::uint64_t Expectation::count(const mock_kms::v1::CallCounts& counts) const {
  std::uint64_t sum = 0;
  for (const auto& line : counts.counts()) {
    if (!method_.empty() && line.method() != method_) continue;
    if (!code_.empty() && line.code() != code_) continue;
    sum += faulted_ ? line.faulted() : line.calls();
  }
  return sum;
}

bool Expectation::counts_good_status() const {
  return (method_.empty() || method_ == "Status") && (code_.empty() || code_ == "OK") && !faulted_;
}

bool Expectation::holds(std::uint64_t count) const {
  if (operator_ == "==") return count == number_;
  if (operator_ == "!=") return count != number_;
  if (operator_ == "<") return count < number_;
  if (operator_ == "<=") return count <= number_;
  return operator_ == ">" ? count > number_ : count >= number_;
}

}  // namespace kms::provider
