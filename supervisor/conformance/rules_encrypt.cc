// Rules 20 to 26.
#include <absl/strings/escaping.h>

#include <algorithm>
#include <array>

#include "common/text/counted.h"
#include "common/text/escape.h"
#include "supervisor/conformance/rules.h"

namespace kms::supervisor::conformance {
namespace {

constexpr std::size_t max_ciphertext = 1024;
constexpr std::size_t max_annotations = std::size_t{32} * 1024;
constexpr std::size_t max_label = 63;
constexpr std::size_t max_name = 253;

using Response = kms_v2_bytes::EncryptResponse;

Finding no_encrypt(const Observations& seen) { return not_applicable(without_answer(seen.encrypts.front())); }

/// Fails with the first answer that has a problem. Passes with the text of `good` if none has.
Finding each_answer(const Observations& seen, std::string (*problem)(const Observations&, const Response&),
                    std::string (*good)(const Response&)) {
  const Response* answer = nullptr;
  for (const EncryptCall& call : seen.encrypts) {
    if (!call.answered()) continue;
    const std::string found = problem(seen, call.response);
    if (!found.empty()) return fail(found);
    answer = &call.response;
  }
  return answer == nullptr ? no_encrypt(seen) : pass(good(*answer));
}

std::string size_problem(const Observations&, const Response& answer) {
  const std::size_t size = answer.ciphertext().size();
  return size == 0 || size > max_ciphertext ? "the ciphertext has " + counted(size, "byte") : "";
}

Finding ciphertext_has_a_good_size(const Observations& seen) {
  for (const EncryptCall& call : seen.encrypts) {
    if (call.refused() && !unimplemented(call) && !seen.refuses_localhost())
      return fail(without_answer(call));
  }
  return each_answer(seen, size_problem, [](const Response& answer) {
    return "the ciphertext has " + counted(answer.ciphertext().size(), "byte");
  });
}

std::string echo_problem(const Observations& seen, const Response& answer) {
  return answer.ciphertext().find(seen.plaintext) == std::string::npos ? ""
                                                                       : "the plaintext is in the ciphertext";
}

Finding ciphertext_is_no_echo(const Observations& seen) {
  return each_answer(seen, echo_problem,
                     [](const Response&) { return std::string("the ciphertext differs"); });
}

Finding encrypt_key_id_is_good(const Observations& seen) {
  return each_answer(
      seen, [](const Observations&, const Response& answer) { return key_id_problem(answer.key_id()); },
      [](const Response& answer) { return "key_id is " + in_quotes(answer.key_id()); });
}

bool is_label(std::string_view label) {
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !label.empty() && label.size() <= max_label && alphanumeric(label.front()) &&
         alphanumeric(label.back()) &&
         std::all_of(label.begin(), label.end(), [&](char c) { return alphanumeric(c) || c == '-'; });
}

/// A dot at the end is allowed, as the API server does (k8s.io/apimachinery,
/// validation.IsFullyQualifiedDomainName).
bool is_domain_name(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.size() > max_name) return false;
  std::size_t labels = 0;
  for (;; ++labels) {
    const auto dot = name.find('.');
    if (!is_label(name.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return labels > 0;
    name.remove_prefix(dot + 1);
  }
}

std::size_t size_of_annotations(const Response& answer) {
  std::size_t size = 0;
  for (const auto& annotation : answer.annotations())
    size += annotation.key().size() + annotation.value().size();
  return size;
}

std::string annotations_problem(const Observations&, const Response& answer) {
  for (const auto& annotation : answer.annotations()) {
    if (!is_domain_name(annotation.key()))
      return "the key " + in_quotes(annotation.key()) + " is not a domain name";
  }
  const std::size_t size = size_of_annotations(answer);
  return size > max_annotations ? "they have " + counted(size, "byte") : "";
}

Finding annotations_are_good(const Observations& seen) {
  return each_answer(seen, annotations_problem, [](const Response& answer) {
    return std::to_string(answer.annotations_size()) + " with " +
           counted(size_of_annotations(answer), "byte");
  });
}

std::string secret_problem(const Observations& seen, const Response& answer) {
  const std::array forms{seen.plaintext, absl::Base64Escape(seen.plaintext),
                         absl::BytesToHexString(seen.plaintext)};
  for (const auto& annotation : answer.annotations()) {
    for (const std::string& form : forms) {
      if (annotation.value().find(form) != std::string::npos) {
        return "the plaintext is in the annotation " + in_quotes(annotation.key());
      }
    }
  }
  return "";
}

Finding annotations_hold_no_secret(const Observations& seen) {
  return each_answer(seen, secret_problem, [](const Response& answer) {
    return answer.annotations().empty()
               ? std::string("there are none")
               : std::string("the plaintext is in none of them, as text, base64 or hex");
  });
}

Finding takes_any_uid_but_an_empty_one(const Observations& seen) {
  if (!seen.encrypts.front().answered()) return no_encrypt(seen);
  if (seen.odd_uid.refused()) return fail("a long uid that is not a UUID: " + without_answer(seen.odd_uid));
  if (seen.empty_uid.answered()) return fail("an empty uid was accepted");
  if (!seen.odd_uid.answered()) return not_applicable(without_answer(seen.odd_uid));
  if (!seen.empty_uid.refused()) return not_applicable(without_answer(seen.empty_uid));
  return pass("an odd uid was accepted, an empty one refused");
}

Finding nonces_are_fresh(const Observations& seen) {
  if (const int broken = broken_encrypt_rule(seen)) {
    return not_applicable("Encrypt breaks rule " + std::to_string(broken));
  }
  std::vector<std::string> ciphertexts;
  for (const EncryptCall& call : seen.encrypts) {
    if (call.answered()) ciphertexts.push_back(call.response.ciphertext());
  }
  if (ciphertexts.size() < 2) return no_encrypt(seen);
  std::sort(ciphertexts.begin(), ciphertexts.end());
  if (std::adjacent_find(ciphertexts.begin(), ciphertexts.end()) != ciphertexts.end()) {
    return fail("one plaintext gave the same ciphertext twice");
  }
  return pass("one plaintext gave " + std::to_string(ciphertexts.size()) + " ciphertexts");
}

constexpr Rule encrypt_table[] = {
    {20, Level::must, "32 bytes become a ciphertext of 1 to 1024", ciphertext_has_a_good_size},
    {21, Level::must, "the ciphertext is not the plaintext", ciphertext_is_no_echo},
    {22, Level::must, "Encrypt's key_id is 1 to 1024 bytes of UTF-8", encrypt_key_id_is_good},
    {23, Level::must, "annotations are named by domain names, 32 KiB in all", annotations_are_good},
    {24, Level::should, "annotations hold no secret", annotations_hold_no_secret},
    {25, Level::should, "accepts any uid except an empty one", takes_any_uid_but_an_empty_one},
    {26, Level::should, "draws a fresh nonce for each call", nonces_are_fresh},
};

}  // namespace

std::span<const Rule> encrypt_rules() { return encrypt_table; }

}  // namespace kms::supervisor::conformance
