#include "provider/faults/effects.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "common/log/log.h"
#include "common/process/signals.h"

namespace kms::provider {
namespace {

using mock_kms::v1::Fault;

// Above the API server's limits.
constexpr std::size_t oversize_key_id = 1025;
constexpr std::size_t oversize_ciphertext = 1025;
constexpr std::size_t oversize_annotations = std::size_t{33} * 1024;

void distort_key_id(Fault::Violation violation, std::string& key_id) {
  if (violation == Fault::KEY_ID_EMPTY) key_id.clear();
  if (violation == Fault::KEY_ID_LONG) key_id.resize(oversize_key_id, 'x');
  if (violation == Fault::KEY_ID_NOT_UTF8) key_id += "\xC3\x28";
}

}  // namespace

void distort(const FaultDecision& decision, KeyRing& keys, v2::StatusResponse& response) {
  if (decision.healthz) response.set_healthz(*decision.healthz);
  if (decision.version) response.set_version(*decision.version);
  for (const Fault::Violation violation : decision.violations) {
    if (violation == Fault::KEY_ID_FLAPPING) {
      response.set_key_id(keys.at(another_version(keys.current()->id.version))->id_text);
    }
    distort_key_id(violation, *response.mutable_key_id());
  }
}

void distort(const FaultDecision& decision, const v2::EncryptRequest& request,
             v2::EncryptResponse& response) {
  distort_ciphertext(decision, request.plaintext(), *response.mutable_ciphertext());
  for (const Fault::Violation violation : decision.violations) {
    distort_key_id(violation, *response.mutable_key_id());
    if (violation == Fault::ANNOTATIONS_BAD) (*response.mutable_annotations())["Not A Domain"] = "1";
    if (violation == Fault::ANNOTATIONS_OVERSIZE) {
      (*response.mutable_annotations())["large.mock-kms.test"] = std::string(oversize_annotations, 'x');
    }
    if (violation == Fault::ANNOTATIONS_SECRET) {
      (*response.mutable_annotations())["secret.mock-kms.test"] = request.plaintext();
    }
  }
}

void distort_ciphertext(const FaultDecision& decision, const std::string& plaintext,
                        std::string& ciphertext) {
  for (const Fault::Violation violation : decision.violations) {
    if (violation == Fault::CIPHERTEXT_EMPTY) ciphertext.clear();
    if (violation == Fault::CIPHERTEXT_OVERSIZE) {
      ciphertext.resize(std::max(oversize_ciphertext, ciphertext.size()));
    }
    if (violation == Fault::CIPHERTEXT_ECHOED) ciphertext = plaintext;
  }
}

void distort_plaintext(const FaultDecision& decision, std::string& plaintext) {
  if (!has_violation(decision, Fault::PLAINTEXT_WRONG)) return;
  if (plaintext.empty()) plaintext = "x";
  plaintext.front() = static_cast<char>(plaintext.front() ^ 1);
}

bool has_violation(const FaultDecision& decision, Fault::Violation violation) {
  return std::find(decision.violations.begin(), decision.violations.end(), violation) !=
         decision.violations.end();
}

void apply_process_faults(const FaultDecision& decision) {
  if (decision.freeze) {
    log::warning("a fault freezes the process; continue it with kill -CONT", {{"fault", decision.names}});
    ::raise(SIGSTOP);
  }
  if (!decision.crash) return;
  log::warning("a fault ends the process", {{"fault", decision.names}});
  if (const auto number = process::signal_number(decision.crash->signal())) {
    std::signal(*number, SIG_DFL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, *number);
    ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    ::raise(*number);
  }
  std::_Exit(static_cast<int>(decision.crash->exit_code()));
}

}  // namespace kms::provider
