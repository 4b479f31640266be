#include "builder/source/socket_stream.h"

#include <git2/sys/stream.h>

#include <cerrno>
#include <string>

#include "builder/git/libgit2.h"
#include "builder/source/socket.h"

namespace kms::builder {
namespace {

thread_local FetchMeter* current_meter = nullptr;
thread_local std::optional<HostAndPort> current_detour;
thread_local HostAndPort latest;

/// All functions here are called from C frames: none throws.
struct Stream : git_stream {
  Stream(FetchMeter& meter, const char* to_host, const char* to_port)
      : git_stream{}, socket(meter), host(to_host), port(to_port) {}

  Socket socket;
  std::string host;
  std::string port;
};

Socket& socket_of(git_stream* stream) { return static_cast<Stream*>(stream)->socket; }

int connect_stream(git_stream* stream) noexcept {
  auto* self = static_cast<Stream*>(stream);
  const std::string cause = self->socket.connect(self->host, self->port);
  if (cause.empty()) return 0;
  git_error_set_str(GIT_ERROR_NET, cause.c_str());
  return -1;
}

ssize_t fail(const char* what) {
  git_error_set_str(GIT_ERROR_NET, (what + errno_text(errno)).c_str());
  return -1;
}

ssize_t read_stream(git_stream* stream, void* into, std::size_t size) noexcept {
  const ssize_t n = socket_of(stream).read(static_cast<char*>(into), size);
  return n < 0 ? fail("the connection was lost: ") : n;
}

/// A proxy is told whom to reach for all that comes then (RFC 9110, 9.3.6).
void note_tunnel(std::string_view request) {
  constexpr std::string_view verb = "CONNECT ";
  if (!request.starts_with(verb)) return;
  request.remove_prefix(verb.size());
  latest = host_and_port(std::string(request.substr(0, request.find(' '))), "443");
}

ssize_t write_stream(git_stream* stream, const char* bytes, std::size_t size, int /*flags*/) noexcept {
  note_tunnel({bytes, size});
  const ssize_t n = socket_of(stream).write(bytes, size);
  return n < 0 ? fail("the connection was lost: ") : n;
}

int close_stream(git_stream* stream) noexcept {
  socket_of(stream).close();
  return 0;
}

void free_stream(git_stream* stream) noexcept { delete static_cast<Stream*>(stream); }

int make_stream(git_stream** out, const char* host, const char* port) noexcept {
  latest = {host, port};
  auto* stream = current_detour
                     ? new Stream(*current_meter, current_detour->host.c_str(), current_detour->port.c_str())
                     : new Stream(*current_meter, host, port);
  stream->version = GIT_STREAM_VERSION;
  stream->connect = connect_stream;
  stream->read = read_stream;
  stream->write = write_stream;
  stream->close = close_stream;
  stream->free = free_stream;
  *out = stream;
  return 0;
}

}  // namespace

void use_own_sockets(FetchMeter& meter, std::optional<HostAndPort> detour) {
  current_meter = &meter;
  current_detour = std::move(detour);
  git_stream_registration registration{GIT_STREAM_VERSION, make_stream, nullptr};
  git::check(git_stream_register(GIT_STREAM_STANDARD, &registration), "register a stream");
}

const HostAndPort& last_connected() { return latest; }

void use_stock_sockets() {
  git::check(git_stream_register(GIT_STREAM_STANDARD, nullptr), "register a stream");
}

}  // namespace kms::builder
