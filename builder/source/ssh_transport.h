// SshTransport carries a fetch over libgit2's ssh.
//
// libgit2 speaks only version 0 of git's protocol, without filters. Here it only connects and logs in. It
// gets the advertisement of an empty repository, while its subtransport carries the requests of the fetch.
// Owned and used by one thread; libgit2 calls back from C frames on the same thread, where nothing throws.
#pragma once

#include <git2.h>
#include <git2/sys/transport.h>

#include "builder/source/credentials.h"
#include "builder/source/transport.h"

namespace kms::builder {

class SshTransport final : public Transport {
 public:
  SshTransport(const FetchRequest& request, FetchMeter& meter);
  SshTransport(const SshTransport&) = delete;
  SshTransport& operator=(const SshTransport&) = delete;

  std::string connect() override;
  [[nodiscard]] bool stateless() const override { return false; }
  void send(std::string_view request) override;
  std::size_t receive(char* into, std::size_t size) override;

 private:
  struct Subtransport;
  struct AdvertisementStream;

  static int make_transport(git_transport** out, git_remote* owner, void* self);
  static int make_subtransport(git_smart_subtransport** out, git_transport* owner, void* self);
  static int on_credentials(git_credential** out, const char* url, const char* user, unsigned allowed,
                            void* self);

  int read_advertisement();
  int pull(git_smart_subtransport_stream* stream, char* into, std::size_t size, std::size_t& n);
  int begin_stream();
  void drop_stream();

  RepositoryUrl url_;
  FetchMeter& meter_;
  SshCredentials credentials_;
  std::string advertisement_;
  std::string connected_url_;
  git_smart_subtransport* inner_ = nullptr;          ///< libgit2's, owned by the Subtransport
  git_smart_subtransport_stream* stream_ = nullptr;  ///< of the connection
  git_smart_subtransport_definition definition_{};
  git::Remote remote_;  ///< destroyed first: it frees the subtransport, which uses the rest
};

}  // namespace kms::builder
