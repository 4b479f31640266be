#include "builder/source/libgit2_transport.h"

#include <strings.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "builder/source/protocol.h"
#include "builder/source/socket.h"

namespace kms::builder {
namespace {

/// Version 0's advertisement of an empty repository, for libgit2. The blank before the line's end matters:
/// libgit2 reads the last capability up to a blank (transports/smart_protocol.c).
std::string empty_advertisement() {
  using namespace std::string_literals;
  return pkt_line("# service=git-upload-pack\n") + std::string(flush_packet) +
         pkt_line(std::string(40, '0') + " capabilities^{}\0ofs-delta side-band-64k \n"s) +
         std::string(flush_packet);
}

}  // namespace

/// The stream on which libgit2 asks for the refs.
struct Libgit2Transport::AdvertisementStream : git_smart_subtransport_stream {
  explicit AdvertisementStream(Libgit2Transport& owner) : git_smart_subtransport_stream{}, transport(owner) {}

  static int read_some(git_smart_subtransport_stream* stream, char* into, std::size_t size,
                       std::size_t* n) noexcept {
    auto& self = *static_cast<AdvertisementStream*>(stream);
    if (self.transport.advertisement_.empty()) {
      if (const int code = self.transport.read_advertisement(); code < 0) return code;
    }
    *n = std::min(size, self.left.size());
    std::memcpy(into, self.left.data(), *n);
    self.left.erase(0, *n);
    return 0;
  }
  static int refuse_write(git_smart_subtransport_stream* /*stream*/, const char* /*bytes*/,
                          std::size_t /*n*/) noexcept {
    return 0;
  }
  static void destroy(git_smart_subtransport_stream* stream) noexcept {
    delete static_cast<AdvertisementStream*>(stream);
  }

  Libgit2Transport& transport;
  std::string left = empty_advertisement();
};

struct Libgit2Transport::Subtransport : git_smart_subtransport {
  explicit Subtransport(Libgit2Transport& owner) : git_smart_subtransport{}, transport(owner) {}

  static int begin(git_smart_subtransport_stream** out, git_smart_subtransport* subtransport, const char* url,
                   git_smart_service_t service) noexcept {
    Libgit2Transport& transport = static_cast<Subtransport*>(subtransport)->transport;
    if (service != GIT_SERVICE_UPLOADPACK_LS) return -1;  // libgit2 ends the session: nothing to send
    transport.drop_stream();
    transport.connected_url_ = url;
    if (const int code = transport.begin_stream(service); code < 0) return code;
    auto* stream = new AdvertisementStream(transport);
    stream->subtransport = subtransport;
    stream->read = AdvertisementStream::read_some;
    stream->write = AdvertisementStream::refuse_write;
    stream->free = AdvertisementStream::destroy;
    *out = stream;
    return 0;
  }
  static int end(git_smart_subtransport* subtransport) noexcept {
    Libgit2Transport& transport = static_cast<Subtransport*>(subtransport)->transport;
    transport.drop_stream();  // before its owner closes: ssh frees memory that the stream uses
    return transport.inner_->close(transport.inner_);
  }
  static void destroy(git_smart_subtransport* subtransport) noexcept {
    Libgit2Transport& transport = static_cast<Subtransport*>(subtransport)->transport;
    transport.drop_stream();
    transport.inner_->free(transport.inner_);
    delete static_cast<Subtransport*>(subtransport);
  }

  Libgit2Transport& transport;
};

Libgit2Transport::Libgit2Transport(git_repository* repository, const FetchRequest& request, FetchMeter& meter)
    : url_(request.repository),
      meter_(meter),
      credentials_(request.repository, request.login),
      proxy_(proxy_of_environment(request.repository)) {
  if (!stateless()) {
    use_stock_sockets();
  } else if (url_.kind() == RepositoryUrl::Kind::http && !proxy_.empty()) {
    use_own_sockets(meter, host_and_port(proxy_, "80"));
  } else {
    use_own_sockets(meter, std::nullopt);
  }
  remote_ = git::make<git::Remote>("read the URL", git_remote_create_anonymous, repository,
                                   url_.secret_location().c_str());
}

int Libgit2Transport::make_transport(git_transport** out, git_remote* owner, void* self) {
  auto& transport = *static_cast<Libgit2Transport*>(self);
  // Stateless even over ssh: then libgit2 gives its stream up after the advertisement.
  transport.definition_ = {make_subtransport, 1, self};
  return git_transport_smart(out, owner, &transport.definition_);
}

int Libgit2Transport::make_subtransport(git_smart_subtransport** out, git_transport* owner, void* self) {
  auto& transport = *static_cast<Libgit2Transport*>(self);
  const int code = transport.stateless() ? git_smart_subtransport_http(&transport.inner_, owner, nullptr)
                                         : git_smart_subtransport_ssh(&transport.inner_, owner, nullptr);
  if (code < 0) return code;
  auto* subtransport = new Subtransport(transport);
  subtransport->action = Subtransport::begin;
  subtransport->close = Subtransport::end;
  subtransport->free = Subtransport::destroy;
  *out = subtransport;
  return 0;
}

int Libgit2Transport::on_credentials(git_credential** out, const char* /*url*/, const char* user,
                                     unsigned allowed, void* self) {
  auto& transport = *static_cast<Libgit2Transport*>(self);
  ++transport.meter_.activity;
  if (transport.meter_.cancelled) return GIT_EUSER;
  if (transport.stateless() && !transport.hides_tunnels() && transport.was_redirected()) {
    git_error_set_str(GIT_ERROR_HTTP, "another server than that of --repo asks for a user and a password");
    return GIT_EAUTH;
  }
  return transport.credentials_.offer(out, user, allowed);
}

int Libgit2Transport::on_message(const char* /*text*/, int /*length*/, void* self) {
  return static_cast<Libgit2Transport*>(self)->meter_.cancelled ? static_cast<int>(GIT_EUSER) : 0;
}

/// True if a redirect led to another server, which must not get the secrets of this one.
bool Libgit2Transport::was_redirected() const {
  const HostAndPort asked =
      host_and_port(url_.display(), url_.kind() == RepositoryUrl::Kind::http ? "80" : "443");
  const HostAndPort& reached = last_connected();
  return ::strcasecmp(reached.host.c_str(), asked.host.c_str()) != 0 || reached.port != asked.port;
}

/// TLS hides from the socket which destination a proxy is asked for. Redirects are not followed there.
bool Libgit2Transport::hides_tunnels() const { return proxy_.starts_with("https://"); }

std::string Libgit2Transport::connect() {
  drop_stream();
  git_remote_disconnect(remote_.get());
  advertisement_.clear();
  credentials_.begin();
  git_remote_connect_options options = GIT_REMOTE_CONNECT_OPTIONS_INIT;
  options.callbacks.payload = this;
  options.callbacks.transport = make_transport;
  options.callbacks.credentials = on_credentials;
  options.callbacks.sideband_progress = on_message;
  options.proxy_opts.type = proxy_.empty() ? GIT_PROXY_NONE : GIT_PROXY_SPECIFIED;
  options.proxy_opts.url = proxy_.c_str();
  if (hides_tunnels()) options.follow_redirects = GIT_REMOTE_REDIRECT_NONE;
  std::array<char, 32> version_2{"Git-Protocol: version=2"};
  std::array<char*, 1> headers{version_2.data()};
  if (stateless()) options.custom_headers = {headers.data(), headers.size()};
  git::check(git_remote_connect_ext(remote_.get(), GIT_DIRECTION_FETCH, &options), "reach " + url_.display());
  return advertisement_;
}

int Libgit2Transport::pull(git_smart_subtransport_stream* stream, char* into, std::size_t size,
                           std::size_t& n) {
  n = 0;
  if (meter_.cancelled) return GIT_EUSER;
  const int code = stream->read(stream, into, size, &n);
  ++meter_.activity;
  if (!stateless()) meter_.bytes += n;
  return code;
}

int Libgit2Transport::read_advertisement() {
  std::array<char, 16384> buffer{};
  std::size_t n = 0;
  AdvertisementEnd end;
  do {
    if (const int code = pull(stream_, buffer.data(), buffer.size(), n); code < 0) return code;
    advertisement_.append(buffer.data(), n);
    try {
      if (!stateless() && end.add({buffer.data(), n})) return 0;
      if (advertisement_.size() > max_advertisement) throw Error("the server's list of refs does not end");
    } catch (const Error& error) {
      git_error_set_str(GIT_ERROR_NET, error.what());
      return -1;
    }
  } while (n > 0);
  if (stateless()) drop_stream();
  return 0;
}

void Libgit2Transport::send(std::string_view request) {
  const std::string object = "ask " + url_.display();
  if (stateless()) {
    drop_stream();
    git::check(begin_stream(GIT_SERVICE_UPLOADPACK), object);
  }
  assert(stream_ != nullptr);
  git::check(stream_->write(stream_, request.data(), request.size()), object);
}

std::size_t Libgit2Transport::receive(char* into, std::size_t size) {
  std::size_t n = 0;
  git::check(pull(stream_, into, size, n), "receive from " + url_.display());
  return n;
}

int Libgit2Transport::begin_stream(git_smart_service_t service) {
  const int code = inner_->action(&stream_, inner_, connected_url_.c_str(), service);
  if (code < 0) stream_ = nullptr;  // ssh frees a failed stream and leaves its address there
  return code;
}

void Libgit2Transport::drop_stream() {
  if (stream_ != nullptr) stream_->free(std::exchange(stream_, nullptr));
}

}  // namespace kms::builder
