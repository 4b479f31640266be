#include "supervisor/conformance/survey.h"

#include <sys/random.h>
#include <sys/stat.h>

#include <filesystem>

#include "common/error.h"

namespace kms::supervisor::conformance {
namespace {

using kms_v2_bytes::DecryptRequest;
using kms_v2_bytes::EncryptRequest;
using kms_v2_bytes::EncryptResponse;

constexpr std::size_t dek_seed_size = 32;  // the API server's
constexpr std::size_t burst_connections = 4;
constexpr std::size_t concurrent_calls = 32;
constexpr std::size_t burst_of_decrypts = 100;

// A uid shows the purpose of a call in the plugin's log, and lets a fault match it.
const std::string plain_uid = "supervisor-check";
const std::string other_uid = "supervisor-check-other";
const std::string odd_uid = "supervisor-check-odd, no UUID: \xC3\xBC " + std::string(200, '-');
const std::string concurrent_uid = "supervisor-check-concurrent";
const std::string burst_uid = "supervisor-check-burst";
const std::string refuse_uid = "supervisor-check-refuse";

Question status_question() { return {"Status", ""}; }

Question encrypt_question(const std::string& plaintext, const std::string& uid) {
  EncryptRequest request;
  request.set_plaintext(plaintext);
  request.set_uid(uid);
  return {"Encrypt", request.SerializeAsString()};
}

Question decrypt_question(const EncryptResponse& sealed, const std::string& uid) {
  DecryptRequest request;
  request.set_ciphertext(sealed.ciphertext());
  request.set_key_id(sealed.key_id());
  request.set_uid(uid);
  *request.mutable_annotations() = sealed.annotations();
  return {"Decrypt", request.SerializeAsString()};
}

template <class Response>
Call<Response> read(Reply reply) {
  Call<Response> call;
  static_cast<CallSeen&>(call) = reply;
  if (reply.answered() && !call.response.ParseFromString(reply.bytes)) {
    call.ended = Ended::unreadable;
    call.cause = "its answer is not a message of KMS v2";
  }
  return call;
}

StatusCall ask_status(Session& session) {
  return read<kms_v2_bytes::StatusResponse>(session.ask(status_question()));
}

EncryptCall ask_encrypt(Session& session, const std::string& plaintext, const std::string& uid) {
  return read<EncryptResponse>(session.ask(encrypt_question(plaintext, uid)));
}

DecryptCall ask_decrypt(Session& session, const EncryptResponse& sealed, const std::string& uid) {
  return read<kms_v2_bytes::DecryptResponse>(session.ask(decrypt_question(sealed, uid)));
}

std::string random_bytes(std::size_t size) {
  std::string bytes(size, '\0');
  if (::getrandom(bytes.data(), size, 0) != static_cast<ssize_t>(size)) throw_errno("draw random bytes");
  return bytes;
}

/// Connecting requires write permission on the socket and search permission on each parent directory
/// (unix(7)).
bool any_user_may_connect(const Endpoint& endpoint) {
  struct stat found {};
  if (::stat(endpoint.name().c_str(), &found) != 0 || (found.st_mode & S_IWOTH) == 0) return false;
  for (auto directory = std::filesystem::path(endpoint.name()).parent_path(); directory.has_relative_path();
       directory = directory.parent_path()) {
    if (::stat(directory.c_str(), &found) == 0 && (found.st_mode & S_IXOTH) == 0) return false;
  }
  return true;
}

/// Requests that a plugin should refuse: a good answer with one change each.
std::vector<std::pair<std::string, EncryptResponse>> tamperings(const EncryptResponse& good) {
  std::vector<std::pair<std::string, EncryptResponse>> changed;
  const auto change = [&](std::string name) -> EncryptResponse& {
    return changed.emplace_back(std::move(name), good).second;
  };
  const auto flip = [](std::string& bytes) { bytes.back() = static_cast<char>(bytes.back() ^ 1); };
  change("an empty ciphertext").clear_ciphertext();
  flip(*change("a flipped bit in the ciphertext").mutable_ciphertext());
  flip(*change("an unknown key_id").mutable_key_id());
  if (good.annotations().empty()) return changed;
  change("its annotations left out").clear_annotations();
  std::string& value = *change("a changed annotation").mutable_annotations(0)->mutable_value();
  value.empty() ? value.push_back('x') : flip(value);
  return changed;
}

void survey_encrypt(Session& session, Observations& seen) {
  seen.plaintext = random_bytes(dek_seed_size);
  seen.statuses.push_back(ask_status(session));
  const CallSeen& first = seen.statuses.front();
  if (first.refused() || first.ended == Ended::broken) {
    seen.other_authority =
        read<kms_v2_bytes::StatusResponse>(session.ask_as("kms-v2-plugin", status_question()));
  }
  for (int i = 0; i < 3; ++i) {
    seen.encrypts.push_back(ask_encrypt(session, seen.plaintext, plain_uid));
    seen.statuses.push_back(ask_status(session));
  }
  seen.odd_uid = ask_encrypt(session, seen.plaintext, odd_uid);
  seen.empty_uid = ask_encrypt(session, seen.plaintext, "");
}

void survey_decrypt(Session& session, Observations& seen) {
  const EncryptCall& sealed = seen.encrypts.front();
  if (!sealed.answered() || sealed.response.ciphertext().empty()) return;
  seen.decrypt = ask_decrypt(session, sealed.response, plain_uid);
  if (!seen.right(seen.decrypt) || sealed.response.key_id().empty()) return;
  session.disconnect();
  seen.decrypt_other_uid = ask_decrypt(session, sealed.response, other_uid);
  for (const auto& [change, request] : tamperings(sealed.response)) {
    seen.tampered.push_back({change, ask_decrypt(session, request, refuse_uid)});
  }
}

Burst send_burst(Session& session, const std::vector<Question>& questions, const std::string* plaintext) {
  Burst burst;
  burst.connections = burst_connections;
  for (Reply& reply : session.ask_at_once(questions, burst_connections)) {
    burst.calls.push_back(reply);
    if (plaintext == nullptr || !reply.answered()) continue;
    const auto call = read<kms_v2_bytes::DecryptResponse>(std::move(reply));
    if (!call.answered() || call.response.plaintext() != *plaintext) ++burst.wrong;
  }
  return burst;
}

void survey_bursts(Session& session, Observations& seen) {
  if (seen.statuses.back().answered() && seen.encrypts.back().answered()) {
    std::vector<Question> questions;
    for (std::size_t i = 0; i < concurrent_calls; ++i) {
      // Both methods over each connection: its number is i modulo 4.
      questions.push_back(i / burst_connections % 2 == 0 ? status_question()
                                                         : encrypt_question(seen.plaintext, concurrent_uid));
    }
    seen.concurrent = send_burst(session, questions, nullptr);
  }
  if (seen.right(seen.decrypt)) {
    const auto question = decrypt_question(seen.encrypts.front().response, burst_uid);
    seen.decrypts = send_burst(session, std::vector<Question>(burst_of_decrypts, question), &seen.plaintext);
  }
}

void survey_replica(Session& session, Session& replica, Replica& found, const Observations& seen) {
  found.status = ask_status(replica);
  const EncryptCall& ours = seen.encrypts.front();
  if (ours.answered()) found.decrypts_ours = ask_decrypt(replica, ours.response, plain_uid);
  found.encrypts = ask_encrypt(replica, seen.plaintext, plain_uid);
  if (found.encrypts.answered()) {
    found.we_decrypt = ask_decrypt(session, found.encrypts.response, plain_uid);
  }
}

}  // namespace

Observations survey(const Endpoint& endpoint, const std::vector<Endpoint>& replicas,
                    const SurveyLimits& limits) {
  const auto until = Session::Clock::now() + limits.deadline;
  Session session(endpoint, limits.timeout, until);
  Observations seen;
  seen.timeout = limits.timeout;
  seen.socket = endpoint.abstract()              ? SocketSeen::abstract
                : any_user_may_connect(endpoint) ? SocketSeen::open_to_all
                                                 : SocketSeen::guarded;
  survey_encrypt(session, seen);
  survey_decrypt(session, seen);
  survey_bursts(session, seen);
  session.disconnect();
  seen.renewed = ask_status(session);
  for (const Endpoint& other : replicas) {
    Session replica(other, limits.timeout, until);
    survey_replica(session, replica, seen.replicas.emplace_back(Replica{other.uri(), {}, {}, {}, {}}), seen);
  }
  seen.broken_connections = session.broken_connections();
  seen.out_of_time = session.out_of_time();
  return seen;
}

std::vector<const CallSeen*> Observations::calls() const {
  std::vector<const CallSeen*> all;
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    all.push_back(&statuses[i]);
    if (i < encrypts.size()) all.push_back(&encrypts[i]);
  }
  all.insert(all.end(), {&odd_uid, &empty_uid, &decrypt, &decrypt_other_uid});
  for (const Tampered& change : tampered) all.push_back(&change.call);
  all.push_back(&renewed);
  return all;
}

}  // namespace kms::supervisor::conformance
