#include "provider/etcd/tls_tunnel.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "common/error.h"

namespace kms::provider {
namespace {

constexpr std::size_t chunk = std::size_t{64} * 1024;

}  // namespace

TlsTunnel::TlsTunnel(UniqueFd connection, const std::string& host, const TlsFiles& files)
    : connection_(std::move(connection)),
      stop_event_(::eventfd(0, EFD_CLOEXEC)),
      context_(SSL_CTX_new(TLS_client_method())) {
  if (!stop_event_) throw_errno("make an event descriptor");
  if (!context_) openssl::throw_error("prepare TLS");
  load(files);
  session_.reset(SSL_new(context_.get()));
  if (!session_) openssl::throw_error("prepare TLS");
  handshake(host);
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
    throw_errno("make a pair of sockets");
  }
  plain_end_.reset(ends[0]);
  inner_end_.reset(ends[1]);
  set_non_blocking(connection_.get());
  thread_ = std::thread([this] { run(); });
}

TlsTunnel::~TlsTunnel() {
  if (!thread_.joinable()) return;
  ::eventfd_write(stop_event_.get(), 1);
  thread_.join();
}

void TlsTunnel::load(const TlsFiles& files) {
  // openssl::set_up() skips the table in which libssl looks the digests of certificates up.
  for (const EVP_MD* digest : {EVP_sha1(), EVP_sha256(), EVP_sha384(), EVP_sha512()}) EVP_add_digest(digest);
  SSL_CTX* const context = context_.get();
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (files.ca_file.empty()) {
    SSL_CTX_set_default_verify_paths(context);
  } else if (SSL_CTX_load_verify_locations(context, files.ca_file.c_str(), nullptr) != 1) {
    openssl::throw_error("read certificates from " + files.ca_file);
  }
  if (files.cert_file.empty()) return;
  if (SSL_CTX_use_certificate_chain_file(context, files.cert_file.c_str()) != 1) {
    openssl::throw_error("read a certificate from " + files.cert_file);
  }
  if (SSL_CTX_use_PrivateKey_file(context, files.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    openssl::throw_error("read the certificate's key from " + files.key_file);
  }
}

void TlsTunnel::handshake(const std::string& host) {
  SSL* const session = session_.get();
  constexpr std::array<unsigned char, 3> http2{2, 'h', '2'};
  SSL_set_alpn_protos(session, http2.data(), http2.size());
  if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), host.c_str()) != 1) {
    ERR_clear_error();                                                          // a name
    SSL_ctrl(session, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,  // the macro has an old cast
             const_cast<char*>(host.c_str()));
    SSL_set1_host(session, host.c_str());
  }
  SSL_set_fd(session, connection_.get());
  if (SSL_connect(session) == 1) return;
  if (const long found = SSL_get_verify_result(session); found != X509_V_OK) {
    throw Error(std::string("the server's certificate is refused: ") + X509_verify_cert_error_string(found),
                "name the authority's certificate with --etcd-cacert");
  }
  if (ERR_peek_last_error() == 0) {
    throw Error("the server ended the TLS handshake", "it may speak no TLS, or answer too late");
  }
  openssl::throw_error("speak TLS with the server");
}

void TlsTunnel::run() {
  while (true) {
    bool wants_write = false;
    if (!move_bytes(wants_write)) break;
    const auto tls = static_cast<short>(POLLIN | (wants_write ? POLLOUT : 0));
    const auto plain =
        static_cast<short>((to_server_.empty() ? POLLIN : 0) | (to_user_.empty() ? 0 : POLLOUT));
    std::array watched{pollfd{connection_.get(), tls, 0}, pollfd{inner_end_.get(), plain, 0},
                       pollfd{stop_event_.get(), POLLIN, 0}};
    if (!to_user_.empty()) watched[0].events = wants_write ? POLLOUT : 0;  // the user is slower
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) break;
    if (watched[2].revents != 0) break;
  }
  inner_end_.reset();  // gRPC sees the end
}

/// Moves what it can in both directions. False at the end of either side.
bool TlsTunnel::move_bytes(bool& wants_write) {
  SSL* const session = session_.get();
  const auto ended = [&](int result) {
    const int reason = SSL_get_error(session, result);
    ERR_clear_error();
    if (reason == SSL_ERROR_WANT_WRITE) wants_write = true;
    return reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE;
  };
  for (bool moved = true; moved;) {
    moved = false;
    if (to_user_.empty()) {
      to_user_.resize(chunk);
      const int got = SSL_read(session, to_user_.data(), static_cast<int>(chunk));
      to_user_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
      if (got <= 0 && ended(got)) return false;
    }
    if (!to_user_.empty()) {
      const ssize_t put = ::send(inner_end_.get(), to_user_.data(), to_user_.size(), MSG_NOSIGNAL);
      if (put < 0 && errno != EAGAIN && errno != EINTR) return false;
      if (put > 0) to_user_.erase(0, static_cast<std::size_t>(put));
      moved = put > 0;
    }
    if (to_server_.empty()) {
      to_server_.resize(chunk);
      const ssize_t got = ::read(inner_end_.get(), to_server_.data(), chunk);
      to_server_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
    }
    if (!to_server_.empty()) {
      const int put = SSL_write(session, to_server_.data(), static_cast<int>(to_server_.size()));
      if (put <= 0 && ended(put)) return false;
      if (put > 0) to_server_.erase(0, static_cast<std::size_t>(put));
      moved = moved || put > 0;
    }
  }
  return true;
}

}  // namespace kms::provider
