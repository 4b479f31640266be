#include "supervisor/probe/deep_probe.h"

#include <array>
#include <cstdint>
#include <random>

#include "common/error.h"
#include "common/net/grpc_status.h"

namespace kms::supervisor {
namespace {

/// What is encrypted: it holds no secret, and nobody keeps what comes of it.
constexpr auto canary = "a canary of the supervisor";

std::string quoted(const std::string& text) { return "'" + text + "'"; }

/// The API server sends a UUID; any text will do (rule 25).
std::string new_uid() {
  static thread_local std::mt19937_64 random{std::random_device()()};
  return "supervisor-" + std::to_string(random());
}

}  // namespace

DeepProbe::DeepProbe(CallQueue& calls, Generation generation, Duration timeout, Probe::Sink sink)
    : calls_(calls), generation_(generation), timeout_(timeout), sink_(std::move(sink)), uid_(new_uid()) {}

void DeepProbe::start(const std::shared_ptr<DeepProbe>& self, SharedStub stub, std::string key_id) {
  self_ = self;
  stub_ = std::move(stub);
  key_id_ = std::move(key_id);
  start_ = std::chrono::steady_clock::now();
  under_way_ = true;
  hand_over();
  begin(Step::encrypt);
}

/// A call that has begun ends by its own deadline at the latest, so only the next one is kept from beginning.
void DeepProbe::cancel() { cancelled_ = true; }

void DeepProbe::begin(Step step) {
  step_ = step;
  context_ = std::make_unique<grpc::ClientContext>();
  context_->set_deadline(std::chrono::system_clock::now() + timeout_);
  if (step == Step::encrypt) {
    v2::EncryptRequest request;
    request.set_plaintext(canary);
    request.set_uid(uid_);
    encrypt_ = stub_->AsyncEncrypt(context_.get(), request, calls_.queue());
    encrypt_->Finish(&encrypted_, &result_, this);
  } else if (step == Step::status) {
    ask_status_ = stub_->AsyncStatus(context_.get(), {}, calls_.queue());
    ask_status_->Finish(&status_, &result_, this);
  } else {
    v2::DecryptRequest request;
    request.set_ciphertext(encrypted_.ciphertext());
    request.set_uid(uid_);
    request.set_key_id(encrypted_.key_id());
    *request.mutable_annotations() = encrypted_.annotations();
    decrypt_ = stub_->AsyncDecrypt(context_.get(), request, calls_.queue());
    decrypt_->Finish(&decrypted_, &result_, this);
  }
}

/// What is wrong with what the last step gave, "" for nothing.
std::string DeepProbe::problem() const {
  static constexpr std::array names{"Encrypt", "Status", "Decrypt"};
  const std::string name = names.at(static_cast<std::size_t>(step_));
  if (result_.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED)
    return name + " of a canary got no answer within " + go_duration(timeout_);
  if (!result_.ok()) return name + " of a canary answers with an error, " + describe(result_);
  switch (step_) {
    case Step::encrypt:
      if (encrypted_.ciphertext().empty() || encrypted_.ciphertext().size() > 1024)
        return "Encrypt gives " + std::to_string(encrypted_.ciphertext().size()) +
               " bytes of ciphertext, the API server takes 1 to 1024 (rule 20)";
      return "";
    case Step::status:
      if (encrypted_.key_id() == key_id_ || encrypted_.key_id() == status_.key_id()) return "";
      return "Encrypt names key_id " + quoted(encrypted_.key_id()) + " and Status " +
             quoted(status_.key_id()) + " (rule 14)";
    case Step::decrypt:
      return decrypted_.plaintext() == canary ? ""
                                              : "Decrypt does not give back what was encrypted (rule 27)";
  }
  return "";
}

void DeepProbe::finished() {
  const std::shared_ptr<DeepProbe> until_the_end = self_;
  if (cancelled_) return report("it was given up");
  if (const std::string found = problem(); !found.empty()) return report(found);
  if (step_ == Step::decrypt) return report("");
  begin(step_ == Step::encrypt ? Step::status : Step::decrypt);
}

void DeepProbe::report(const std::string& problem) {
  sink_({generation_, DeepAnswer{encrypted_.key_id(), problem, std::chrono::steady_clock::now() - start_}});
  stub_.reset();
  under_way_ = false;
  self_.reset();
}

}  // namespace kms::supervisor
