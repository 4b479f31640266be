// LibgitWire is libgit2's http, https or ssh as a pipe of bytes.
//
// libgit2 speaks only version 0 of git's protocol, without filters. It is let connect (credentials,
// certificates, proxies, redirects), and is then shown an empty repository, while its subtransport carries
// whatever a fetch has to say. Owned and used by one thread; called back from C frames on the same thread,
// where nothing throws.
#pragma once

#include <git2.h>
#include <git2/sys/transport.h>

#include "builder/source/credentials.h"
#include "builder/source/fetch.h"
#include "builder/source/meter.h"
#include "builder/source/wire.h"

namespace kms::builder {

class LibgitWire final : public Wire {
 public:
  /// `repository` outlives the wire; nothing is written to it.
  LibgitWire(git_repository* repository, const FetchRequest& request, FetchMeter& meter);
  LibgitWire(const LibgitWire&) = delete;
  LibgitWire& operator=(const LibgitWire&) = delete;

  std::string connect() override;
  [[nodiscard]] bool stateless() const override { return url_.kind() != RepositoryUrl::Kind::ssh; }
  void send(std::string_view request) override;
  std::size_t receive(char* into, std::size_t size) override;

 private:
  struct Subtransport;
  struct Greeting;

  static int make_transport(git_transport** out, git_remote* owner, void* self);
  static int make_subtransport(git_smart_subtransport** out, git_transport* owner, void* self);
  static int on_credentials(git_credential** out, const char* url, const char* user, unsigned allowed,
                            void* self);
  static int on_message(const char* text, int length, void* self);

  [[nodiscard]] bool was_redirected() const;
  [[nodiscard]] bool sees_no_tunnel() const;
  int read_greeting();
  int pull(git_smart_subtransport_stream* stream, char* into, std::size_t size, std::size_t& n);
  int begin_stream(git_smart_service_t service);
  void drop_stream();

  RepositoryUrl url_;
  FetchMeter& meter_;
  Credentials credentials_;
  std::string proxy_;  ///< its URL, "" where there is none
  std::string greeting_;
  std::string connected_url_;
  git_smart_subtransport* inner_ = nullptr;          ///< libgit2's, owned by the Subtransport
  git_smart_subtransport_stream* stream_ = nullptr;  ///< of the request under way; ssh: of the connection
  git_smart_subtransport_definition definition_{};
  git::Remote remote_;  ///< goes first: it frees the transport, which still uses the rest
};

}  // namespace kms::builder
