#include "builder/source/git_wire.h"

#include <array>

#include "builder/source/pkt_line.h"
#include "builder/source/proxy.h"
#include "builder/source/server_offer.h"
#include "common/error.h"

namespace kms::builder {
namespace {

constexpr auto default_port = "9418";

}  // namespace

std::string GitWire::connect() {
  const std::string place_and_path = url_.display().substr(url_.display().find("://") + 3);
  const std::size_t slash = place_and_path.find('/');
  const std::string path = slash == std::string::npos ? "/" : place_and_path.substr(slash);
  const HostAndPort place = host_and_port(url_.display(), default_port);
  const std::string cause = socket_.connect(place.host, place.port);
  if (!cause.empty()) throw Error("cannot reach " + url_.display() + ": " + cause);
  using namespace std::string_literals;
  send(pkt_line("git-upload-pack " + path + "\0host="s + place_and_path.substr(0, slash) +
                "\0\0version=2\0"s));
  std::string greeting;
  std::array<char, 16384> buffer{};
  AdvertisementEnd end;
  std::size_t n = 0;
  do {
    n = receive(buffer.data(), buffer.size());
    greeting.append(buffer.data(), n);
  } while (n > 0 && !end.add({buffer.data(), n}));
  return greeting;
}

void GitWire::send(std::string_view request) {
  while (!request.empty()) {
    const ssize_t n = socket_.write(request.data(), request.size());
    if (n < 0) throw_errno("send to " + url_.display());
    request.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::size_t GitWire::receive(char* into, std::size_t size) {
  const ssize_t n = socket_.read(into, size);
  if (n < 0) throw_errno("receive from " + url_.display());
  return static_cast<std::size_t>(n);
}

}  // namespace kms::builder
