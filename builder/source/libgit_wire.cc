#include "builder/source/libgit_wire.h"

#include <strings.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "builder/git/libgit2.h"
#include "builder/source/pkt_line.h"
#include "builder/source/server_offer.h"
#include "builder/source/socket_stream.h"

namespace kms::builder {
namespace {

/// What libgit2 is shown: version 0's greeting of an empty repository. The blank before the line's end
/// matters: libgit2 measures the last ability up to one (transports/smart_protocol.c).
std::string empty_greeting() {
  using namespace std::string_literals;
  return pkt_line("# service=git-upload-pack\n") + std::string(flush_packet) +
         pkt_line(std::string(40, '0') + " capabilities^{}\0ofs-delta side-band-64k \n"s) +
         std::string(flush_packet);
}

}  // namespace

/// The stream of libgit2's own question for the refs.
struct LibgitWire::Greeting : git_smart_subtransport_stream {
  explicit Greeting(LibgitWire& owner) : git_smart_subtransport_stream{}, wire(owner) {}

  static int read_some(git_smart_subtransport_stream* stream, char* into, std::size_t size,
                       std::size_t* n) noexcept {
    auto& self = *static_cast<Greeting*>(stream);
    if (self.wire.greeting_.empty()) {
      if (const int code = self.wire.read_greeting(); code < 0) return code;
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
    delete static_cast<Greeting*>(stream);
  }

  LibgitWire& wire;
  std::string left = empty_greeting();
};

struct LibgitWire::Subtransport : git_smart_subtransport {
  explicit Subtransport(LibgitWire& owner) : git_smart_subtransport{}, wire(owner) {}

  static int begin(git_smart_subtransport_stream** out, git_smart_subtransport* subtransport, const char* url,
                   git_smart_service_t service) noexcept {
    LibgitWire& wire = static_cast<Subtransport*>(subtransport)->wire;
    if (service != GIT_SERVICE_UPLOADPACK_LS) return -1;  // libgit2's good-bye, which nobody needs
    wire.drop_stream();
    wire.connected_url_ = url;
    if (const int code = wire.begin_stream(service); code < 0) return code;
    auto* greeting = new Greeting(wire);
    greeting->subtransport = subtransport;
    greeting->read = Greeting::read_some;
    greeting->write = Greeting::refuse_write;
    greeting->free = Greeting::destroy;
    *out = greeting;
    return 0;
  }
  static int end(git_smart_subtransport* subtransport) noexcept {
    LibgitWire& wire = static_cast<Subtransport*>(subtransport)->wire;
    wire.drop_stream();  // before its owner closes: ssh frees what the stream still uses
    return wire.inner_->close(wire.inner_);
  }
  static void destroy(git_smart_subtransport* subtransport) noexcept {
    LibgitWire& wire = static_cast<Subtransport*>(subtransport)->wire;
    wire.drop_stream();
    wire.inner_->free(wire.inner_);
    delete static_cast<Subtransport*>(subtransport);
  }

  LibgitWire& wire;
};

LibgitWire::LibgitWire(git_repository* repository, const FetchRequest& request, FetchMeter& meter)
    : url_(request.repository),
      meter_(meter),
      credentials_(request),
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

int LibgitWire::make_transport(git_transport** out, git_remote* owner, void* self) {
  auto& wire = *static_cast<LibgitWire*>(self);
  // Told to be stateless even over ssh: then libgit2 forgets its stream once it has seen the greeting.
  wire.definition_ = {make_subtransport, 1, self};
  return git_transport_smart(out, owner, &wire.definition_);
}

int LibgitWire::make_subtransport(git_smart_subtransport** out, git_transport* owner, void* self) {
  auto& wire = *static_cast<LibgitWire*>(self);
  const int code = wire.stateless() ? git_smart_subtransport_http(&wire.inner_, owner, nullptr)
                                    : git_smart_subtransport_ssh(&wire.inner_, owner, nullptr);
  if (code < 0) return code;
  auto* subtransport = new Subtransport(wire);
  subtransport->action = Subtransport::begin;
  subtransport->close = Subtransport::end;
  subtransport->free = Subtransport::destroy;
  *out = subtransport;
  return 0;
}

int LibgitWire::on_credentials(git_credential** out, const char* /*url*/, const char* user, unsigned allowed,
                               void* self) {
  auto& wire = *static_cast<LibgitWire*>(self);
  ++wire.meter_.beats;
  if (wire.meter_.cancelled) return GIT_EUSER;
  if (wire.stateless() && !wire.sees_no_tunnel() && wire.was_redirected()) {
    git_error_set_str(GIT_ERROR_HTTP, "another server than that of --repo asks for a user and a password");
    return GIT_EAUTH;
  }
  return wire.credentials_.offer(out, user, allowed);
}

int LibgitWire::on_message(const char* /*text*/, int /*length*/, void* self) {
  return static_cast<LibgitWire*>(self)->meter_.cancelled ? static_cast<int>(GIT_EUSER) : 0;
}

/// A redirect has led to another server, which is not to have the secrets of this one.
bool LibgitWire::was_redirected() const {
  const HostAndPort asked =
      host_and_port(url_.display(), url_.kind() == RepositoryUrl::Kind::http ? "80" : "443");
  const HostAndPort& reached = last_connected();
  return ::strcasecmp(reached.host.c_str(), asked.host.c_str()) != 0 || reached.port != asked.port;
}

/// What a proxy is asked for inside of TLS is hidden from the socket: redirects are not followed there.
bool LibgitWire::sees_no_tunnel() const { return proxy_.starts_with("https://"); }

std::string LibgitWire::connect() {
  drop_stream();
  git_remote_disconnect(remote_.get());
  greeting_.clear();
  credentials_.begin();
  git_remote_connect_options options = GIT_REMOTE_CONNECT_OPTIONS_INIT;
  options.callbacks.payload = this;
  options.callbacks.transport = make_transport;
  options.callbacks.credentials = on_credentials;
  options.callbacks.sideband_progress = on_message;
  options.proxy_opts.type = proxy_.empty() ? GIT_PROXY_NONE : GIT_PROXY_SPECIFIED;
  options.proxy_opts.url = proxy_.c_str();
  if (sees_no_tunnel()) options.follow_redirects = GIT_REMOTE_REDIRECT_NONE;
  std::array<char, 32> version_2{"Git-Protocol: version=2"};
  std::array<char*, 1> headers{version_2.data()};
  if (stateless()) options.custom_headers = {headers.data(), headers.size()};
  git::check(git_remote_connect_ext(remote_.get(), GIT_DIRECTION_FETCH, &options), "reach " + url_.display());
  return greeting_;
}

int LibgitWire::pull(git_smart_subtransport_stream* stream, char* into, std::size_t size, std::size_t& n) {
  n = 0;
  if (meter_.cancelled) return GIT_EUSER;
  const int code = stream->read(stream, into, size, &n);
  ++meter_.beats;
  if (!stateless()) meter_.bytes += n;
  return code;
}

int LibgitWire::read_greeting() {
  std::array<char, 16384> buffer{};
  std::size_t n = 0;
  AdvertisementEnd end;
  do {
    if (const int code = pull(stream_, buffer.data(), buffer.size(), n); code < 0) return code;
    greeting_.append(buffer.data(), n);
    try {
      if (!stateless() && end.add({buffer.data(), n})) return 0;
      if (greeting_.size() > max_advertisement) throw Error("the server's list of refs does not end");
    } catch (const Error& error) {
      git_error_set_str(GIT_ERROR_NET, error.what());
      return -1;
    }
  } while (n > 0);
  if (stateless()) drop_stream();
  return 0;
}

void LibgitWire::send(std::string_view request) {
  const std::string object = "ask " + url_.display();
  if (stateless()) {
    drop_stream();
    git::check(begin_stream(GIT_SERVICE_UPLOADPACK), object);
  }
  assert(stream_ != nullptr);
  git::check(stream_->write(stream_, request.data(), request.size()), object);
}

std::size_t LibgitWire::receive(char* into, std::size_t size) {
  std::size_t n = 0;
  git::check(pull(stream_, into, size, n), "receive from " + url_.display());
  return n;
}

int LibgitWire::begin_stream(git_smart_service_t service) {
  const int code = inner_->action(&stream_, inner_, connected_url_.c_str(), service);
  if (code < 0) stream_ = nullptr;  // ssh frees a stream that fails, and leaves its address there
  return code;
}

void LibgitWire::drop_stream() {
  if (stream_ != nullptr) stream_->free(std::exchange(stream_, nullptr));
}

}  // namespace kms::builder
