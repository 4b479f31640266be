#include "provider/etcd/client.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/support/channel_arguments.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>

#include "common/net/call_deadline.h"
#include "common/net/grpc_status.h"

namespace kms::provider {
namespace {

using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;

constexpr int max_page_bytes = 32 << 20;
constexpr std::size_t wanted_page_bytes = std::size_t{4} << 20U;
constexpr std::int64_t first_page = 100;
constexpr std::int64_t max_page = 5000;

std::string address_text(const TcpAddress& address) { return address.host + ":" + address.port; }

/// A connected blocking socket whose reads and writes end after `timeout`.
UniqueFd connect_tcp(const TcpAddress& address, Duration timeout) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &found);
      error != 0) {
    throw Error("cannot find the address of " + address.host + ": " + ::gai_strerror(error), "",
                ErrorCode::unreachable);
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> freeing(found, &::freeaddrinfo);
  const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(timeout).count();
  const timeval limit{microseconds / 1'000'000, microseconds % 1'000'000};
  int error = 0;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    UniqueFd fd(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) throw_errno("make a socket");
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (::connect(fd.get(), at->ai_addr, at->ai_addrlen) == 0) return fd;
    error = errno == EINPROGRESS ? ETIMEDOUT : errno;
  }
  throw Error("cannot connect to etcd at " + address_text(address) + ": " + errno_text(error),
              "check --etcd; etcd's clients use port 2379", ErrorCode::unreachable);
}

/// The first key that does not begin with the prefix.
std::string end_of(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xFF') prefix.pop_back();
  if (prefix.empty()) return std::string(1, '\0');  // etcd: all keys from `key` on
  prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

/// The number of values of the last page's size that fit into a page.
std::int64_t next_limit(const RangeResponse& page) {
  const auto count = static_cast<std::size_t>(std::max(page.kvs_size(), 1));
  const std::size_t each = std::max<std::size_t>(page.ByteSizeLong() / count, 1);
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(wanted_page_bytes / each), 1, max_page);
}

}  // namespace

EtcdClient::EtcdClient(Options options) : options_(std::move(options)) {
  UniqueFd connection = connect_tcp(options_.address, options_.timeout);
  if (options_.tls) {
    tunnel_.emplace(std::move(connection), options_.address.host, *options_.tls);
    connection = tunnel_->take_plain_end();
  } else {
    set_non_blocking(connection.get());
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(max_page_bytes);
  stub_ = etcdserverpb::KV::NewStub(
      grpc::CreateCustomInsecureChannelFromFd(options_.address.host, connection.release(), arguments));
}

grpc::Status EtcdClient::range(const RangeRequest& request, RangeResponse& response) {
  grpc::ClientContext context;
  const CallDeadline deadline(context, options_.timeout);
  response.Clear();
  return stub_->Range(&context, request, &response);
}

Error EtcdClient::failure(const grpc::Status& status) const {
  const bool silent = status.error_code() == grpc::UNAVAILABLE ||
                      status.error_code() == grpc::DEADLINE_EXCEEDED ||
                      status.error_code() == grpc::CANCELLED;
  return {"etcd at " + address_text(options_.address) + ": " + describe(status),
          options_.tls ? "" : "a server with TLS needs --etcd-cacert, and usually --etcd-cert and --etcd-key",
          silent ? ErrorCode::unreachable : ErrorCode::failed};
}

std::optional<std::string> EtcdClient::get(const std::string& key) {
  RangeRequest request;
  request.set_key(key);
  RangeResponse response;
  if (const auto status = range(request, response); !status.ok()) throw failure(status);
  if (response.kvs().empty()) return std::nullopt;
  return std::move(*response.mutable_kvs(0)->mutable_value());
}

void EtcdClient::scan(const std::string& prefix, const Visit& visit) {
  RangeRequest request;
  request.set_key(prefix);
  request.set_range_end(end_of(prefix));
  request.set_limit(first_page);
  RangeResponse page;
  std::uint64_t total = 0;
  do {
    const auto status = range(request, page);
    if (status.error_code() == grpc::RESOURCE_EXHAUSTED && request.limit() > 1) {
      request.set_limit(std::max<std::int64_t>(request.limit() / 8, 1));  // values larger than those before
      page.set_more(true);
      continue;
    }
    if (status.error_code() == grpc::OUT_OF_RANGE && request.revision() != 0) {
      request.set_revision(0);  // compacted meanwhile: go on at the newest one
      page.set_more(true);
      continue;
    }
    if (!status.ok()) throw failure(status);
    if (request.revision() == 0) request.set_revision(page.header().revision());
    if (total == 0) total = static_cast<std::uint64_t>(page.count());
    for (const auto& pair : page.kvs()) visit(pair, total);
    if (page.kvs().empty()) return;
    request.set_key(page.kvs().rbegin()->key() + '\0');
    request.set_limit(next_limit(page));
  } while (page.more());
}

}  // namespace kms::provider
