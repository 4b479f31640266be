#include "builder/source/ssh_transport.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "builder/source/protocol.h"

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
struct SshTransport::AdvertisementStream : git_smart_subtransport_stream {
  explicit AdvertisementStream(SshTransport& owner) : git_smart_subtransport_stream{}, transport(owner) {}

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

  SshTransport& transport;
  std::string left = empty_advertisement();
};

struct SshTransport::Subtransport : git_smart_subtransport {
  explicit Subtransport(SshTransport& owner) : git_smart_subtransport{}, transport(owner) {}

  static int begin(git_smart_subtransport_stream** out, git_smart_subtransport* subtransport, const char* url,
                   git_smart_service_t service) noexcept {
    SshTransport& transport = static_cast<Subtransport*>(subtransport)->transport;
    if (service != GIT_SERVICE_UPLOADPACK_LS) return -1;  // libgit2 ends the session: nothing to send
    transport.drop_stream();
    transport.connected_url_ = url;
    if (const int code = transport.begin_stream(); code < 0) return code;
    auto* stream = new AdvertisementStream(transport);
    stream->subtransport = subtransport;
    stream->read = AdvertisementStream::read_some;
    stream->write = AdvertisementStream::refuse_write;
    stream->free = AdvertisementStream::destroy;
    *out = stream;
    return 0;
  }
  static int end(git_smart_subtransport* subtransport) noexcept {
    SshTransport& transport = static_cast<Subtransport*>(subtransport)->transport;
    transport.drop_stream();  // before its owner closes: ssh frees memory that the stream uses
    return transport.inner_->close(transport.inner_);
  }
  static void destroy(git_smart_subtransport* subtransport) noexcept {
    SshTransport& transport = static_cast<Subtransport*>(subtransport)->transport;
    transport.drop_stream();
    transport.inner_->free(transport.inner_);
    delete static_cast<Subtransport*>(subtransport);
  }

  SshTransport& transport;
};

SshTransport::SshTransport(const FetchRequest& request, FetchMeter& meter)
    : url_(request.repository), meter_(meter), credentials_(request.login) {
  git::prepare_library();
  remote_ =
      git::make<git::Remote>("read the URL", git_remote_create_detached, url_.secret_location().c_str());
}

int SshTransport::make_transport(git_transport** out, git_remote* owner, void* self) {
  auto& transport = *static_cast<SshTransport*>(self);
  // Stateless, though ssh is not: then libgit2 gives its stream up after the advertisement.
  transport.definition_ = {make_subtransport, 1, self};
  return git_transport_smart(out, owner, &transport.definition_);
}

int SshTransport::make_subtransport(git_smart_subtransport** out, git_transport* owner, void* self) {
  auto& transport = *static_cast<SshTransport*>(self);
  if (const int code = git_smart_subtransport_ssh(&transport.inner_, owner, nullptr); code < 0) return code;
  auto* subtransport = new Subtransport(transport);
  subtransport->action = Subtransport::begin;
  subtransport->close = Subtransport::end;
  subtransport->free = Subtransport::destroy;
  *out = subtransport;
  return 0;
}

int SshTransport::on_credentials(git_credential** out, const char* /*url*/, const char* user,
                                 unsigned allowed, void* self) {
  auto& transport = *static_cast<SshTransport*>(self);
  ++transport.meter_.activity;
  if (transport.meter_.cancelled) return GIT_EUSER;
  return transport.credentials_.offer(out, user, allowed);
}

std::string SshTransport::connect() {
  drop_stream();
  git_remote_disconnect(remote_.get());
  advertisement_.clear();
  credentials_.begin();
  git_remote_connect_options options{};
  git_remote_connect_options_init(&options, GIT_REMOTE_CONNECT_OPTIONS_VERSION);
  options.callbacks.payload = this;
  options.callbacks.transport = make_transport;
  options.callbacks.credentials = on_credentials;
  git::check(git_remote_connect_ext(remote_.get(), GIT_DIRECTION_FETCH, &options), "reach " + url_.display());
  return advertisement_;
}

int SshTransport::pull(git_smart_subtransport_stream* stream, char* into, std::size_t size, std::size_t& n) {
  n = 0;
  if (meter_.cancelled) return GIT_EUSER;
  const int code = stream->read(stream, into, size, &n);
  ++meter_.activity;
  meter_.bytes += n;
  return code;
}

int SshTransport::read_advertisement() {
  std::array<char, 16384> buffer{};
  std::size_t n = 0;
  AdvertisementEnd end;
  do {
    if (const int code = pull(stream_, buffer.data(), buffer.size(), n); code < 0) return code;
    advertisement_.append(buffer.data(), n);
    try {
      if (end.add({buffer.data(), n})) return 0;
    } catch (const Error& error) {
      git_error_set_str(GIT_ERROR_NET, error.what());
      return -1;
    }
  } while (n > 0);
  return 0;
}

void SshTransport::send(std::string_view request) {
  assert(stream_ != nullptr);
  git::check(stream_->write(stream_, request.data(), request.size()), "ask " + url_.display());
}

std::size_t SshTransport::receive(char* into, std::size_t size) {
  std::size_t n = 0;
  git::check(pull(stream_, into, size, n), "receive from " + url_.display());
  return n;
}

int SshTransport::begin_stream() {
  const int code = inner_->action(&stream_, inner_, connected_url_.c_str(), GIT_SERVICE_UPLOADPACK_LS);
  if (code < 0) stream_ = nullptr;  // libgit2 frees a failed stream and leaves its address there
  return code;
}

void SshTransport::drop_stream() {
  if (stream_ != nullptr) stream_->free(std::exchange(stream_, nullptr));
}

}  // namespace kms::builder
