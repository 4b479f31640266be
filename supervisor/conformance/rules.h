// The rules of docs/kms-v2-rules.md as values. Each has a pure function that judges what a survey saw.
//
// To add a rule: write its judge in the rules_*.cc of its chapter, add it to the table there, and test it in
// tests/supervisor/conformance/rules_test.cc.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/conformance/survey.h"

namespace kms::supervisor::conformance {

enum class Level { must, should };

enum class Verdict {
  pass,
  fail,
  not_applicable,  ///< the answers that the rule judges did not come
  not_visible,     ///< a client cannot observe it
};

struct Finding {
  Verdict verdict;
  std::string seen;  ///< the reason for the verdict, on one line; quoted text of the plugin is printable
};

struct Rule {
  int number;
  Level level;
  std::string_view text;
  Finding (*judge)(const Observations& seen);
};

/// All rules in their order. Rule 10 appears twice: its MUST and its SHOULD.
[[nodiscard]] std::vector<Rule> rules();

// The chapters of rules(), and the helpers of the judges. Only rules*.cc use them.

[[nodiscard]] std::span<const Rule> transport_rules();
[[nodiscard]] std::span<const Rule> status_rules();
[[nodiscard]] std::span<const Rule> encrypt_rules();
[[nodiscard]] std::span<const Rule> decrypt_rules();
[[nodiscard]] std::span<const Rule> life_cycle_rules();

/// The first broken rule about Encrypt's answer (20 to 24), or 0. If one is broken, Decrypt is not judged.
[[nodiscard]] int broken_encrypt_rule(const Observations& seen);

inline Finding pass(std::string seen) { return {Verdict::pass, std::move(seen)}; }
inline Finding fail(std::string seen) { return {Verdict::fail, std::move(seen)}; }
inline Finding not_applicable(std::string seen) { return {Verdict::not_applicable, std::move(seen)}; }
inline Finding not_visible(std::string seen) { return {Verdict::not_visible, std::move(seen)}; }

/// "Encrypt: INTERNAL: cannot encrypt".
[[nodiscard]] std::string without_answer(const CallSeen& call);

/// True if the plugin says that it has no such method. Only rule 2 judges that.
[[nodiscard]] inline bool unimplemented(const CallSeen& call) {
  return call.refused() && call.refusal == Refusal::unimplemented;
}

/// The problem of a key_id by rule 13; empty if there is none.
[[nodiscard]] std::string key_id_problem(std::string_view key_id);

}  // namespace kms::supervisor::conformance
