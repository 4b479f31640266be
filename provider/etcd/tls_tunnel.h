// TlsTunnel speaks TLS for gRPC, which is linked without it: no Unix socket needs TLS, and gRPC's own costs
// every start of a plugin.
//
// Made and destroyed by one thread; a thread of its own moves the bytes. Errors: throws Error.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <thread>

#include "common/crypto/openssl.h"
#include "common/io/fd.h"

namespace kms::provider {

/// PEM files. Without a `ca_file` the system's certificates count.
struct TlsFiles {
  std::string ca_file;
  std::string cert_file;  ///< the client's certificate, empty: none
  std::string key_file;
};

class TlsTunnel {
 public:
  /// Handshakes over a connected blocking socket, for HTTP/2, and checks that the certificate is for `host`,
  /// a name or an IP address.
  TlsTunnel(UniqueFd connection, const std::string& host, const TlsFiles& files);
  TlsTunnel(const TlsTunnel&) = delete;
  TlsTunnel& operator=(const TlsTunnel&) = delete;
  ~TlsTunnel();

  /// The end without TLS, non-blocking. Call it once.
  [[nodiscard]] UniqueFd take_plain_end() { return std::move(plain_end_); }

 private:
  using Context = std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>>;
  using Session = std::unique_ptr<SSL, Free<SSL_free>>;

  void load(const TlsFiles& files);
  void handshake(const std::string& host);
  void run();
  bool move_bytes(bool& wants_write);

  UniqueFd connection_;
  UniqueFd plain_end_;  ///< of the user, until taken
  UniqueFd inner_end_;
  UniqueFd stop_event_;
  Context context_;
  Session session_;
  std::string to_server_;  ///< read, and not yet written
  std::string to_user_;
  std::thread thread_;
};

}  // namespace kms::provider
