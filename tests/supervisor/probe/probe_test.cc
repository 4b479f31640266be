#include "supervisor/probe/probe.h"

#include <doctest/doctest.h>
#include <grpcpp/server_builder.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <optional>

#include "common/net/unix_listener.h"

namespace kms::supervisor {
namespace {

using namespace std::chrono_literals;

/// A plugin in this process that answers as the test says.
class Plugin final : public v2::KeyManagementService::Service {
 public:
  explicit Plugin(const Endpoint& endpoint) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(endpoint.grpc_target(), grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~Plugin() override { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status Status(grpc::ServerContext*, const v2::StatusRequest*, v2::StatusResponse* response) override {
    *response = answer;
    return error;
  }

  grpc::Status Encrypt(grpc::ServerContext*, const v2::EncryptRequest* request,
                       v2::EncryptResponse* response) override {
    response->set_ciphertext("sealed " + request->plaintext());
    response->set_key_id(encrypt_key_id);
    (*response->mutable_annotations())["a.test"] = "kept";
    return encrypt_error;
  }
  grpc::Status Decrypt(grpc::ServerContext*, const v2::DecryptRequest* request,
                       v2::DecryptResponse* response) override {
    const bool right = request->annotations().at("a.test") == "kept" && request->key_id() == encrypt_key_id;
    response->set_plaintext(right ? plaintext.value_or(request->ciphertext().substr(7)) : "");
    return grpc::Status::OK;
  }

  v2::StatusResponse answer;
  grpc::Status error;
  std::string encrypt_key_id;
  grpc::Status encrypt_error;
  std::optional<std::string> plaintext;  ///< that Decrypt gives, whatever was encrypted

 private:
  std::unique_ptr<grpc::Server> server_;
};

class Fixture {
 public:
  Fixture() : directory_(make_directory()), endpoint_(*Endpoint::parse(directory_ + "/kms.sock")) {}
  ~Fixture() { std::filesystem::remove_all(directory_); }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

  const Endpoint& endpoint() { return endpoint_; }

  /// Makes a deep probe after a good Status. Returns its failure, or "" after a good one.
  std::string deep_problem(Duration timeout = 3s) {
    std::mutex mutex;
    std::condition_variable arrived;
    std::optional<DeepAnswer> answer;
    CallQueue calls;
    Probe probe(calls, endpoint_, [&](ProbeResult r) {
      if (!std::holds_alternative<DeepAnswer>(r.outcome)) return;
      const std::lock_guard lock(mutex);
      answer = std::get<DeepAnswer>(r.outcome);
      arrived.notify_all();
    });
    probe.probe(1, timeout, true);
    std::unique_lock lock(mutex);
    REQUIRE(arrived.wait_for(lock, timeout + 5s, [&] { return answer.has_value(); }));
    return answer->problem;
  }

  /// One probe's result.
  decltype(ProbeResult::outcome) probe(Duration timeout = 3s) {
    std::mutex mutex;
    std::condition_variable arrived;
    std::optional<ProbeResult> result;
    CallQueue calls;
    Probe probe(calls, endpoint_, [&](ProbeResult r) {
      const std::lock_guard lock(mutex);
      result = std::move(r);
      arrived.notify_all();
    });
    probe.probe(1, timeout);
    std::unique_lock lock(mutex);
    REQUIRE(arrived.wait_for(lock, timeout + 5s, [&] { return result.has_value(); }));
    return result->outcome;
  }

 private:
  static std::string make_directory() {
    std::string name = "/tmp/kms-probe-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    return name;
  }

  std::string directory_;
  Endpoint endpoint_;
};

v2::StatusResponse response(const std::string& version, const std::string& healthz,
                            const std::string& key_id) {
  v2::StatusResponse r;
  r.set_version(version);
  r.set_healthz(healthz);
  r.set_key_id(key_id);
  return r;
}

}  // namespace

TEST_CASE("a Status that came is an answer with its latency") {
  Fixture fixture;
  Plugin plugin(fixture.endpoint());
  plugin.answer = response("v2", "ok", "key-1");
  const auto outcome = fixture.probe();
  REQUIRE(std::holds_alternative<ProbeAnswer>(outcome));
  const auto& answer = std::get<ProbeAnswer>(outcome);
  CHECK(answer.status.key_id() == "key-1");
  CHECK(answer.latency > 0s);
  CHECK(fault_of(answer) == "");
}

TEST_CASE(
    "every error that the plugin itself sends is an answer, even one that looks like a broken connection") {
  Fixture fixture;
  Plugin plugin(fixture.endpoint());
  for (int code = 1; code <= 16; ++code) {
    CAPTURE(code);
    plugin.error = {static_cast<grpc::StatusCode>(code), "injected"};
    const auto outcome = fixture.probe();
    REQUIRE(std::holds_alternative<ProbeAnswer>(outcome));
    CHECK(std::get<ProbeAnswer>(outcome).error.ends_with(": injected"));
    CHECK_FALSE(fault_of(std::get<ProbeAnswer>(outcome)).empty());
  }
}

TEST_CASE("a deep probe finds what Status does not tell") {
  Fixture fixture;
  Plugin plugin(fixture.endpoint());
  plugin.answer = response("v2", "ok", "k1");
  plugin.encrypt_key_id = "k1";
  CHECK(fixture.deep_problem() == "");
  plugin.encrypt_key_id = "k2";
  CHECK(fixture.deep_problem() == "Encrypt names key_id 'k2' and Status 'k1' (rule 14)");
  plugin.encrypt_key_id = "k1";
  plugin.plaintext = "another";
  CHECK(fixture.deep_problem() == "Decrypt does not give back what was encrypted (rule 27)");
  plugin.encrypt_error = {grpc::StatusCode::INTERNAL, "out of entropy"};
  CHECK(fixture.deep_problem() == "Encrypt of a canary answers with an error, INTERNAL: out of entropy");
}

TEST_CASE("a missing socket is a failed probe") {
  Fixture fixture;
  const auto outcome = fixture.probe(200ms);
  REQUIRE(std::holds_alternative<ProbeFailure>(outcome));
  CHECK(std::get<ProbeFailure>(outcome).cause.find("nothing listens on unix:///tmp/") == 0);
}

TEST_CASE("a socket that listens and never speaks is a failed probe") {
  Fixture fixture;
  const auto listener = UnixListener::claim(fixture.endpoint());
  REQUIRE(listener.ok());
  const auto outcome = fixture.probe(200ms);
  REQUIRE(std::holds_alternative<ProbeFailure>(outcome));
  CHECK(std::get<ProbeFailure>(outcome).cause.starts_with("no answer within 200ms"));
}

TEST_CASE("a probe that is given up while under way is reported and holds nothing up") {
  Fixture fixture;
  const auto mute = UnixListener::claim(fixture.endpoint());
  bool reported = false;
  {
    CallQueue calls;
    Probe probe(calls, fixture.endpoint(), [&](const ProbeResult&) { reported = true; });
    probe.probe(1, 1h);
  }
  CHECK(reported);
}

TEST_CASE("an answer that breaks the contract is named by its rule") {
  const auto fault = [](const v2::StatusResponse& r) { return fault_of(ProbeAnswer{r, "", 0s}); };
  CHECK(fault(response("v2", "ok", "k")).empty());
  CHECK(fault(response("v2beta1", "ok", std::string(1024, 'k'))).empty());
  CHECK(fault(response("v1", "ok", "k")).find("rule 10") != std::string::npos);
  CHECK(fault(response("v2", "OK", "k")).find("rule 12") != std::string::npos);
  CHECK(fault(response("v2", "ok", "")).find("rule 13") != std::string::npos);
  CHECK(fault(response("v2", "ok", std::string(1025, 'k'))).find("rule 13") != std::string::npos);
}

}  // namespace kms::supervisor
