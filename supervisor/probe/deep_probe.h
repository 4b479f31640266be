// DeepProbe asks one plugin process to encrypt a canary and to decrypt it again, and holds the key_ids of
// Status and Encrypt against each other.
//
// Made by a Probe on the loop's thread, one for each round; the steps follow each other on the queue's
// thread. It keeps itself alive while a call is under way.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "supervisor/probe/call.h"
#include "supervisor/probe/probe.h"

namespace kms::supervisor {

class DeepProbe final : public QueuedCall {
 public:
  using SharedStub = std::shared_ptr<v2::KeyManagementService::Stub>;

  /// Each call has `timeout`. `sink` gets the one result, on the queue's thread.
  DeepProbe(CallQueue& calls, Generation generation, Duration timeout, Probe::Sink sink);

  /// Begins after a good Status that named `key_id`. On the queue's thread, once.
  void start(const std::shared_ptr<DeepProbe>& self, SharedStub stub, std::string key_id);

  /// The calls under way and to come fail. From any thread.
  void cancel();

  /// No call is under way and none will come: it has its result, or it never began.
  [[nodiscard]] bool over() const { return !under_way_; }

  void finished() override;

 private:
  /// Encrypt, then Status again, so that a rotation in between is none of the plugin's faults, then Decrypt.
  enum class Step { encrypt, status, decrypt };

  void begin(Step step);
  void report(const std::string& problem);
  [[nodiscard]] std::string problem() const;

  CallQueue& calls_;
  Generation generation_;
  Duration timeout_;
  Probe::Sink sink_;
  SharedStub stub_;
  std::string uid_;
  std::string key_id_;  ///< that the first Status named
  Step step_ = Step::encrypt;
  std::chrono::steady_clock::time_point start_;
  std::atomic<bool> under_way_ = false;
  std::atomic<bool> cancelled_ = false;
  std::unique_ptr<grpc::ClientContext> context_;
  grpc::Status result_;
  v2::EncryptResponse encrypted_;
  v2::StatusResponse status_;
  v2::DecryptResponse decrypted_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v2::EncryptResponse>> encrypt_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v2::StatusResponse>> ask_status_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v2::DecryptResponse>> decrypt_;
  std::shared_ptr<DeepProbe> self_;
};

}  // namespace kms::supervisor
