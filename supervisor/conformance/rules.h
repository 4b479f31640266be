// The rules of docs/kms-v2-rules.md as values, each with a pure function that judges what a survey saw.
//
// To add one: write its judge beside its neighbours in rules_*.cc, name it in that file's table, and
// show in conformance_test.cc what breaks it. Safe from any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/conformance/observations.h"

namespace kms::supervisor::conformance {

enum class Level { must, should };

enum class Verdict {
  pass,
  fail,
  not_applicable,  ///< the answers that the rule is about did not come
  not_visible,     ///< no client can see it
};

struct Finding {
  Verdict verdict;
  std::string seen;  ///< what the verdict rests on, on one line; a plugin's words in it are printable
};

struct Rule {
  int number;
  Level level;
  std::string_view text;
  Finding (*judge)(const Observations& seen);
};

/// All rules in their order. Rule 10 is there twice: what it demands, and what it prefers.
[[nodiscard]] std::vector<Rule> rules();

// By chapter, for rules().
[[nodiscard]] std::span<const Rule> transport_rules();
[[nodiscard]] std::span<const Rule> status_rules();
[[nodiscard]] std::span<const Rule> encrypt_rules();
[[nodiscard]] std::span<const Rule> decrypt_rules();
[[nodiscard]] std::span<const Rule> life_cycle_rules();

/// The first rule about Encrypt's answer (20 to 24) that is broken, or 0 for none: what is not sealed by the
/// rules cannot be expected to open.
[[nodiscard]] int broken_encrypt_rule(const Observations& seen);

}  // namespace kms::supervisor::conformance
