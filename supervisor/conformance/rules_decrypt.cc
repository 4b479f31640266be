// Rules 27 to 32.
#include "common/text/counted.h"
#include "supervisor/conformance/rules.h"

namespace kms::supervisor::conformance {
namespace {

/// Why the rules about a successful Decrypt cannot be judged.
Finding no_decrypt(const Observations& seen) {
  if (const int broken = broken_encrypt_rule(seen)) {
    return not_applicable("Encrypt breaks rule " + std::to_string(broken));
  }
  if (!seen.encrypts.front().answered()) return not_applicable(without_answer(seen.encrypts.front()));
  if (seen.decrypt.answered()) return not_applicable("Decrypt breaks rule 27");
  return not_applicable(without_answer(seen.decrypt));
}

bool decrypts(const Observations& seen) { return broken_encrypt_rule(seen) == 0 && seen.right(seen.decrypt); }

Finding gives_the_plaintext_back(const Observations& seen) {
  if (decrypts(seen)) return pass("all " + counted(seen.plaintext.size(), "byte"));
  if (broken_encrypt_rule(seen) != 0 || unimplemented(seen.decrypt)) return no_decrypt(seen);
  if (seen.decrypt.refused()) return fail(without_answer(seen.decrypt));
  if (!seen.decrypt.answered()) return no_decrypt(seen);
  return fail("another plaintext came back, of " + counted(seen.decrypt.response.plaintext().size(), "byte"));
}

Finding needs_no_uid(const Observations& seen) {
  if (!decrypts(seen)) return no_decrypt(seen);
  const DecryptCall& other = seen.decrypt_other_uid;
  if (seen.right(other)) return pass("under another uid and over another connection too");
  if (other.refused()) return fail("under another uid: " + without_answer(other));
  if (!other.answered()) return not_applicable(without_answer(other));
  return fail("under another uid another plaintext came back");
}

Finding every_replica_reads_it(const Observations& seen) {
  if (seen.replicas.empty())
    return not_visible("it shows after rotations and restarts; or name replicas with --replica");
  if (!decrypts(seen)) return no_decrypt(seen);
  for (const Replica& replica : seen.replicas) {
    const auto problem = [&](const DecryptCall& call) {
      return seen.right(call) ? std::string() : call.answered() ? "another plaintext" : without_answer(call);
    };
    if (const std::string there = problem(replica.decrypts_ours); !there.empty()) {
      return fail(replica.endpoint + " does not decrypt what was encrypted here: " + there);
    }
    if (!replica.encrypts.answered()) {
      return not_applicable(replica.endpoint + ": " + without_answer(replica.encrypts));
    }
    if (const std::string here = problem(replica.we_decrypt); !here.empty()) {
      return fail("this plugin does not decrypt what " + replica.endpoint + " encrypted: " + here);
    }
  }
  return pass("both ways with " + counted(seen.replicas.size(), "replica") +
              "; rotations and restarts are not visible");
}

Finding refuses_what_was_changed(const Observations& seen) {
  if (!decrypts(seen)) return no_decrypt(seen);
  std::string refused;
  for (const Tampered& tampered : seen.tampered) {
    if (tampered.call.answered()) {
      return fail("with " + tampered.change +
                  (seen.right(tampered.call) ? " it still gave the plaintext" : " it answered with garbage"));
    }
    if (!tampered.call.refused()) return not_applicable(without_answer(tampered.call));
    refused += (refused.empty() ? "" : ", ") + tampered.change;
  }
  return pass("refused: " + refused);
}

Finding survives_a_burst(const Observations& seen) {
  const Burst& burst = seen.decrypts;
  if (burst.calls.empty() || !decrypts(seen)) return no_decrypt(seen);
  const std::string sent = std::to_string(burst.calls.size()) + " Decrypts at once";
  for (const CallSeen& call : burst.calls) {
    if (!call.answered()) return fail("of " + sent + " one was not answered; " + without_answer(call));
  }
  if (burst.wrong > 0)
    return fail("of " + sent + " " + std::to_string(burst.wrong) + " gave another plaintext");
  return pass(sent + " over " + std::to_string(burst.connections) + " connections");
}

Finding codes_name_the_cause(const Observations& seen) {
  std::size_t refusals = 0;
  for (const Tampered& tampered : seen.tampered) {
    if (!tampered.call.refused()) continue;
    ++refusals;
    if (tampered.call.refusal != Refusal::bad_request) {
      return fail("for " + tampered.change + ": " + without_answer(tampered.call) +
                  "; InvalidArgument, NotFound or FailedPrecondition would name the cause");
    }
  }
  if (refusals == 0) return not_applicable("nothing was refused that should have been");
  return pass(std::to_string(refusals) + " refusals with InvalidArgument, NotFound or FailedPrecondition");
}

constexpr Rule decrypt_table[] = {
    {27, Level::must, "Decrypt gives exactly the plaintext", gives_the_plaintext_back},
    {28, Level::must, "Decrypt needs ciphertext, key_id and annotations alone", needs_no_uid},
    {29, Level::must, "reads what any earlier key_id and any replica wrote", every_replica_reads_it},
    {30, Level::should, "refuses requests that were changed", refuses_what_was_changed},
    {31, Level::should, "survives the burst of Decrypts after an API server's restart", survives_a_burst},
    {32, Level::should, "refuses with gRPC codes that name the cause", codes_name_the_cause},
};

}  // namespace

std::span<const Rule> decrypt_rules() { return decrypt_table; }

}  // namespace kms::supervisor::conformance
