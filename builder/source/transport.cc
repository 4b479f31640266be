#include "builder/source/transport.h"

#include <array>

#include "builder/source/http_transport.h"
#include "builder/source/protocol.h"
#include "builder/source/proxy.h"
#include "builder/source/socket.h"
#include "builder/source/ssh_transport.h"

namespace kms::builder {
namespace {

constexpr auto git_port = "9418";

/// git://, without libgit2: libgit2's own cannot ask for protocol version 2 (gitprotocol-pack(5), "Git
/// Transport").
class GitTransport final : public Transport {
 public:
  GitTransport(RepositoryUrl url, FetchMeter& meter) : url_(std::move(url)), socket_(meter) {}

  std::string connect() override {
    const std::string host_and_path = url_.display().substr(url_.display().find("://") + 3);
    const std::size_t slash = host_and_path.find('/');
    const std::string path = url_.path().empty() ? "/" : url_.path();
    const Outcome<> connected = socket_.connect(host_and_port(url_.display(), git_port));
    if (!connected) throw connected.error().within("cannot reach " + url_.display());
    using namespace std::string_literals;
    send(pkt_line("git-upload-pack " + path + "\0host="s + host_and_path.substr(0, slash) +
                  "\0\0version=2\0"s));
    return read_advertisement();
  }

  [[nodiscard]] bool stateless() const override { return false; }

  void send(std::string_view request) override {
    while (!request.empty()) {
      const ssize_t n = socket_.write(request.data(), request.size());
      if (n < 0) throw_errno("send to " + url_.display());
      request.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  std::size_t receive(char* into, std::size_t size) override {
    const ssize_t n = socket_.read(into, size);
    if (n < 0) throw_errno("receive from " + url_.display());
    return static_cast<std::size_t>(n);
  }

 private:
  std::string read_advertisement() {
    std::string advertisement;
    std::array<char, 16384> buffer{};
    AdvertisementEnd end;
    std::size_t n = 0;
    do {
      n = receive(buffer.data(), buffer.size());
      advertisement.append(buffer.data(), n);
    } while (n > 0 && !end.add({buffer.data(), n}));
    return advertisement;
  }

  RepositoryUrl url_;
  Socket socket_;
};

}  // namespace

std::unique_ptr<Transport> make_transport(const FetchRequest& request, FetchMeter& meter) {
  using Kind = RepositoryUrl::Kind;
  if (request.repository.kind() == Kind::git)
    return std::make_unique<GitTransport>(request.repository, meter);
  if (request.repository.kind() == Kind::ssh) return std::make_unique<SshTransport>(request, meter);
  return std::make_unique<HttpTransport>(request, meter);
}

}  // namespace kms::builder
