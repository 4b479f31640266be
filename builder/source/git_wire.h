// GitWire is git:// by hand: libgit2's own cannot ask for protocol version 2 (gitprotocol-pack(5), "Git
// Transport").
//
// Used on the fetching thread. There is nothing to encrypt and nobody to authenticate.
#pragma once

#include "builder/source/repository_url.h"
#include "builder/source/socket.h"
#include "builder/source/wire.h"

namespace kms::builder {

class GitWire : public Wire {
 public:
  GitWire(const RepositoryUrl& url, FetchMeter& meter) : url_(url), socket_(meter) {}

  std::string connect() override;
  [[nodiscard]] bool stateless() const override { return false; }
  void send(std::string_view request) override;
  std::size_t receive(char* into, std::size_t size) override;

 private:
  RepositoryUrl url_;
  Socket socket_;
};

}  // namespace kms::builder
