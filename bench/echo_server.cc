// bench-echo-server: the plain gRPC C++ server that anyone would write first. The provider is compared with
// it.
//
// It uses the synchronous API with its defaults. It encrypts nothing and answers fixed bytes of the size of
// the provider's answers, so that both move the same bytes.
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <cstdio>

#include "bench/plugin_channel.h"
#include "common/cli/command_line.h"
#include "common/cli/exit_code.h"

namespace {

constexpr auto key_id = "default/v1/00000000";

class EchoService final : public v2::KeyManagementService::Service {
  grpc::Status Status(grpc::ServerContext*, const v2::StatusRequest*, v2::StatusResponse* response) override {
    response->set_version("v2");
    response->set_healthz("ok");
    response->set_key_id(key_id);
    return grpc::Status::OK;
  }

  grpc::Status Encrypt(grpc::ServerContext*, const v2::EncryptRequest* request,
                       v2::EncryptResponse* response) override {
    response->set_ciphertext(request->plaintext() + std::string(28, 'x'));  // a nonce and a tag are 28 bytes
    response->set_key_id(key_id);
    (*response->mutable_annotations())["format.mock-kms.test"] = "1";
    return grpc::Status::OK;
  }

  grpc::Status Decrypt(grpc::ServerContext*, const v2::DecryptRequest* request,
                       v2::DecryptResponse* response) override {
    response->set_plaintext(request->ciphertext().substr(0, 32));
    return grpc::Status::OK;
  }
};

int serve(const std::string& address) {
  EchoService service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(kms::bench::endpoint_of(address).grpc_target(), grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  if (!server) throw kms::Error("cannot serve on " + address);
  server->Wait();
  return kms::exit_code::ok;
}

}  // namespace

int main(int argc, char** argv) {
  kms::CommandLine line("bench-echo-server", "A plain gRPC C++ server to compare the provider with",
                        "BENCH_ECHO_");
  std::string address;
  line.app()
      .add_option("--listen-addr", address, "Socket: unix:///path or unix:///@abstract-name")
      ->required();
  if (const auto code = line.parse(argc, argv)) return *code;
  try {
    return serve(address);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench-echo-server: %s\n", error.what());
    return kms::exit_code::failed;
  }
}
