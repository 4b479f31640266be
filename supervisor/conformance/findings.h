// How judges word what they found. Included by rules_*.cc alone; pure functions.
#pragma once

#include "supervisor/conformance/rules.h"

namespace kms::supervisor::conformance {

inline Finding pass(std::string seen) { return {Verdict::pass, std::move(seen)}; }
inline Finding fail(std::string seen) { return {Verdict::fail, std::move(seen)}; }
inline Finding not_applicable(std::string seen) { return {Verdict::not_applicable, std::move(seen)}; }
inline Finding not_visible(std::string seen) { return {Verdict::not_visible, std::move(seen)}; }

/// A plugin's words between quotes: printable, and cut where they are long.
[[nodiscard]] std::string quoted(std::string_view words);

/// "1 byte", "2 bytes".
[[nodiscard]] std::string bytes(std::size_t count);

/// "Encrypt: INTERNAL: cannot encrypt".
[[nodiscard]] std::string without_answer(const CallSeen& call);

/// Whether the plugin says that it has no such method, which is rule 2's alone.
[[nodiscard]] inline bool unimplemented(const CallSeen& call) {
  return call.refused() && call.code == grpc::StatusCode::UNIMPLEMENTED;
}

/// What is wrong with a key_id by rule 13, "" for nothing.
[[nodiscard]] std::string key_id_problem(std::string_view key_id);

}  // namespace kms::supervisor::conformance
