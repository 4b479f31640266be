// Rules 10 to 19.
#include <algorithm>

#include "common/text/escape.h"
#include "supervisor/conformance/rules.h"

namespace kms::supervisor::conformance {
namespace {

constexpr Duration cheap = std::chrono::milliseconds(100);

std::vector<const StatusCall*> answered_statuses(const Observations& seen) {
  std::vector<const StatusCall*> answered;
  for (const StatusCall& call : seen.statuses) {
    if (call.answered()) answered.push_back(&call);
  }
  return answered;
}

Finding no_status(const Observations& seen) { return not_applicable(without_answer(seen.statuses.front())); }

bool version_is_known(const std::string& version) { return version == "v2" || version == "v2beta1"; }

Finding version_is_taken(const Observations& seen) {
  const auto statuses = answered_statuses(seen);
  if (statuses.empty()) return no_status(seen);
  for (const StatusCall* call : statuses) {
    const std::string& version = call->response.version();
    if (!version_is_known(version)) return fail("version is " + in_quotes(version));
  }
  return pass("version is " + in_quotes(statuses.front()->response.version()));
}

Finding version_is_v2(const Observations& seen) {
  for (const StatusCall* call : answered_statuses(seen)) {
    const std::string& version = call->response.version();
    if (!version_is_known(version)) return not_applicable("version is " + in_quotes(version));
    if (version != "v2") return fail("version is " + in_quotes(version));
  }
  return answered_statuses(seen).empty() ? no_status(seen) : pass("version is 'v2'");
}

Finding version_stays(const Observations& seen) {
  const auto statuses = answered_statuses(seen);
  if (statuses.size() < 2) return no_status(seen);
  const std::string& version = statuses.front()->response.version();
  for (const StatusCall* call : statuses) {
    if (call->response.version() != version) {
      return fail("version was " + in_quotes(version) + " and then " + in_quotes(call->response.version()));
    }
  }
  return pass("the same in " + std::to_string(statuses.size()) + " answers");
}

Finding is_healthy(const Observations& seen) {
  for (const StatusCall& call : seen.statuses) {
    if (unimplemented(call) || seen.refuses_localhost()) return no_status(seen);
    if (call.refused())
      return fail("it is not healthy, so not all rules can be judged; " + without_answer(call));
    if (call.answered() && call.response.healthz() != "ok") {
      return fail("healthz is " + in_quotes(call.response.healthz()));
    }
  }
  return answered_statuses(seen).empty() ? no_status(seen) : pass("healthz is 'ok'");
}

Finding status_key_id_is_good(const Observations& seen) {
  const auto statuses = answered_statuses(seen);
  if (statuses.empty()) return no_status(seen);
  for (const StatusCall* call : statuses) {
    const std::string problem = key_id_problem(call->response.key_id());
    if (!problem.empty()) return fail(problem);
  }
  return pass("key_id is " + in_quotes(statuses.front()->response.key_id()));
}

/// An Encrypt during a rotation may name the key_id of the Status before or after it.
Finding key_ids_agree(const Observations& seen) {
  std::size_t compared = 0;
  for (std::size_t i = 0; i < seen.encrypts.size() && i + 1 < seen.statuses.size(); ++i) {
    const StatusCall& before = seen.statuses[i];
    const StatusCall& after = seen.statuses[i + 1];
    const EncryptCall& encrypt = seen.encrypts[i];
    if (!before.answered() || !encrypt.answered() || !after.answered()) continue;
    const std::string& named = encrypt.response.key_id();
    // Rules 13 and 22 report a bad key_id.
    if (!key_id_problem(named).empty() || !key_id_problem(before.response.key_id()).empty()) continue;
    ++compared;
    if (named != before.response.key_id() && named != after.response.key_id()) {
      return fail("Status names " + in_quotes(before.response.key_id()) + ", Encrypt " + in_quotes(named));
    }
  }
  if (compared == 0) return not_applicable("Status and Encrypt gave no key_ids to compare");
  return pass("the same in " + std::to_string(compared) + " Encrypts and the Statuses around them");
}

Finding key_id_never_goes_back(const Observations& seen) {
  std::vector<std::string> ids;  // without repetitions
  for (const StatusCall* call : answered_statuses(seen)) {
    const std::string& id = call->response.key_id();
    if (!ids.empty() && ids.back() == id) continue;
    if (std::find(ids.begin(), ids.end(), id) != ids.end()) {
      return fail("Status went from " + in_quotes(ids.back()) + " back to " + in_quotes(id));
    }
    ids.push_back(id);
  }
  if (ids.empty()) return no_status(seen);
  return pass(ids.size() == 1 ? "always the same key_id"
                              : std::to_string(ids.size()) + " key_ids, one after the other");
}

Finding status_is_cheap(const Observations& seen) {
  const auto statuses = answered_statuses(seen);
  if (statuses.empty()) return no_status(seen);
  Duration fastest = statuses.front()->took;
  for (const StatusCall* call : statuses) fastest = std::min(fastest, call->took);
  const std::string took =
      "the fastest of " + std::to_string(statuses.size()) + " took " + human_duration(fastest);
  return fastest > cheap ? fail(took + "; more than " + human_duration(cheap) + " is not cheap") : pass(took);
}

bool says_ok(const Observations& seen) {
  const auto statuses = answered_statuses(seen);
  return !statuses.empty() && std::all_of(statuses.begin(), statuses.end(), [](const StatusCall* call) {
    return call->response.healthz() == "ok";
  });
}

Finding status_covers_decrypt(const Observations& seen) {
  if (broken_encrypt_rule(seen) != 0 || !seen.decrypt.refused() || unimplemented(seen.decrypt)) {
    return not_visible("it shows when Decrypt fails");
  }
  if (says_ok(seen)) return fail("healthz is 'ok', and " + without_answer(seen.decrypt));
  return pass("Status is not healthy, and " + without_answer(seen.decrypt));
}

Finding outage_is_an_error(const Observations& seen) {
  const bool outage = !seen.encrypts.empty() && seen.encrypts.front().refused() &&
                      (seen.decrypt.ended == Ended::not_asked || seen.decrypt.refused());
  if (!outage || unimplemented(seen.encrypts.front())) return not_visible("it shows in an outage");
  if (seen.statuses.front().refused()) return pass(without_answer(seen.statuses.front()));
  if (!seen.statuses.front().answered()) return no_status(seen);
  return fail("Status answers without an error, and " + without_answer(seen.encrypts.front()));
}

Finding replicas_agree(const Observations& seen) {
  if (seen.replicas.empty()) return not_visible("name the other replicas with --replica");
  const StatusCall& own = seen.statuses.back();
  if (!own.answered()) return no_status(seen);
  for (const Replica& replica : seen.replicas) {
    if (!replica.status.answered()) {
      return not_applicable(replica.endpoint + " gave no answer; " + without_answer(replica.status));
    }
    const std::string& id = replica.status.response.key_id();
    if (id != own.response.key_id()) {
      return fail("key_id is " + in_quotes(own.response.key_id()) + ", on " + replica.endpoint + " " +
                  in_quotes(id));
    }
  }
  return pass(in_quotes(own.response.key_id()) + " on all " + std::to_string(seen.replicas.size() + 1));
}

constexpr Rule status_table[] = {
    {10, Level::must, "version is v2 or v2beta1", version_is_taken},
    {10, Level::should, "version is v2", version_is_v2},
    {11, Level::must, "version stays the same", version_stays},
    {12, Level::must, "healthz is exactly ok when healthy", is_healthy},
    {13, Level::must, "key_id is 1 to 1024 bytes of UTF-8", status_key_id_is_good},
    {14, Level::must, "Status and Encrypt name the same key_id", key_ids_agree},
    {15, Level::should, "key_id never goes back to an earlier one", key_id_never_goes_back},
    {16, Level::should, "Status is cheap", status_is_cheap},
    {17, Level::should, "Status counts a broken Decrypt as unhealthy", status_covers_decrypt},
    {18, Level::should, "Status reports a hard outage as a gRPC error", outage_is_an_error},
    {19, Level::should, "all replicas reach the same key_id", replicas_agree},
};

}  // namespace

std::span<const Rule> status_rules() { return status_table; }

}  // namespace kms::supervisor::conformance
