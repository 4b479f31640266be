#include "bench/plugin_channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "common/error.h"

namespace kms::bench {

std::shared_ptr<grpc::Channel> plugin_channel(const Endpoint& endpoint, Redial redial) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, static_cast<int>(redial.first.count()));
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, static_cast<int>(redial.most.count()));
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
  return grpc::CreateCustomChannel(endpoint.grpc_target(), grpc::InsecureChannelCredentials(), arguments);
}

Endpoint endpoint_of(const std::string& text) {
  auto parsed = Endpoint::parse(text);
  if (!parsed) throw Error(parsed.error());
  return *std::move(parsed);
}

void prepare(grpc::ClientContext& context) {
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::system_clock::now() + call_deadline);
}

v2::EncryptRequest encrypt_request() {
  v2::EncryptRequest request;
  request.set_plaintext(std::string(32, '\x2a'));
  request.set_uid("6f1d3a52-5d0b-4c5e-9d0a-8f6f3c1f2a10");
  return request;
}

}  // namespace kms::bench
