// EtcdClient reads keys from an etcd server over its v3 API.
//
// One thread, blocking. Memory is bounded: a range is read in pages whose size follows that of the values.
// Errors: unreachable if nothing answers in time, else failed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/error.h"
#include "common/net/http_server.h"
#include "common/text/time.h"
#include "proto/etcd_kv.grpc.pb.h"
#include "provider/etcd/tls_tunnel.h"

namespace kms::provider {

class EtcdClient {
 public:
  struct Options {
    TcpAddress address;
    std::optional<TlsFiles> tls;  ///< empty: no TLS
    Duration timeout;             ///< of each step: the connection, each page
  };
  /// Gets each key, and how many keys the range has.
  using Visit = std::function<void(const etcdserverpb::KeyValue& pair, std::uint64_t total)>;

  /// Connects. Throws Error.
  explicit EtcdClient(Options options);

  /// The value; empty if there is no such key. Throws Error.
  [[nodiscard]] std::optional<std::string> get(const std::string& key);

  /// Visits every key with the prefix, in order, at one revision of etcd. Throws Error.
  void scan(const std::string& prefix, const Visit& visit);

 private:
  [[nodiscard]] grpc::Status range(const etcdserverpb::RangeRequest& request,
                                   etcdserverpb::RangeResponse& response);
  [[nodiscard]] Error failure(const grpc::Status& status) const;

  Options options_;
  std::optional<TlsTunnel> tunnel_;
  std::unique_ptr<etcdserverpb::KV::Stub> stub_;
};

}  // namespace kms::provider
