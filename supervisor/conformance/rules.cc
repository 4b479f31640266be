#include "supervisor/conformance/rules.h"

#include "common/text/counted.h"
#include "common/text/escape.h"

namespace kms::supervisor::conformance {
namespace {

constexpr std::size_t max_key_id = 1024;

Finding needs_a_restart(const Observations&) { return not_visible("it shows when the plugin restarts"); }
Finding needs_a_death(const Observations&) {
  return not_visible("it shows when the plugin is killed, hangs or runs out of memory");
}
Finding needs_a_stop(const Observations&) { return not_visible("it shows when the plugin is stopped"); }

constexpr Rule life_cycle[] = {
    {33, Level::should, "is healthy again well within 180 s after it died or hung", needs_a_death},
    {34, Level::should, "finishes the calls in flight on SIGTERM", needs_a_stop},
    {35, Level::should, "loses no key in a crash", needs_a_restart},
};

}  // namespace

std::string without_answer(const CallSeen& call) {
  return std::string(call.method) + ": " + (call.cause.empty() ? "it was not called" : call.cause);
}

std::string key_id_problem(std::string_view key_id) {
  if (key_id.empty()) return "key_id is empty";
  if (key_id.size() > max_key_id) return "key_id has " + counted(key_id.size(), "byte");
  if (utf8_text(key_id) != key_id) return "key_id " + in_quotes(key_id) + " is not UTF-8";
  return "";
}

std::span<const Rule> life_cycle_rules() { return life_cycle; }

std::vector<Rule> rules() {
  std::vector<Rule> all;
  for (const auto chapter :
       {transport_rules(), status_rules(), encrypt_rules(), decrypt_rules(), life_cycle_rules()}) {
    all.insert(all.end(), chapter.begin(), chapter.end());
  }
  return all;
}

int broken_encrypt_rule(const Observations& seen) {
  for (const Rule& rule : encrypt_rules()) {
    if (rule.number <= 24 && rule.judge(seen).verdict == Verdict::fail) return rule.number;
  }
  return 0;
}

}  // namespace kms::supervisor::conformance
