#include "common/net/endpoint.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <cstdio>
#include <cstring>

namespace kms {
namespace {

constexpr std::string_view scheme = "unix://";
constexpr auto forms = "use unix:///absolute/path or unix:///@abstract-name";

Error bad(std::string_view text, const std::string& why) {
  return {"endpoint '" + std::string(text) + "' " + why, forms};
}

}  // namespace

Outcome<Endpoint> Endpoint::parse(std::string_view text) {
  if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7F; })) {
    return Error("the endpoint holds a control character", forms);
  }
  std::string_view path = text;
  if (path.starts_with(scheme)) {
    path.remove_prefix(scheme.size());
  } else if (!path.starts_with('/')) {
    return bad(text, text.empty() ? "is empty" : "is not a Unix socket address");
  }
  if (!path.starts_with('/')) return bad(text, "has a host or a relative path; '/' must follow unix://");
  const bool abstract = path.starts_with("/@");
  const std::string_view name = abstract ? path.substr(2) : path;
  if (name.empty() || name == "/") return bad(text, "names no socket");
  if (!abstract && name.ends_with('/')) return bad(text, "ends with '/' like a directory");
  if (name.size() > max_length) {
    return Error("endpoint '" + std::string(text) + "' is " + std::to_string(name.size()) +
                     " bytes long, and a Unix socket address holds " + std::to_string(max_length),
                 "use a shorter path");
  }
  return Endpoint(abstract, std::string(name));
}

std::string Endpoint::uri() const { return std::string(scheme) + (abstract_ ? "/@" : "") + name_; }

std::string Endpoint::grpc_target() const {
  // gRPC reads its targets as URIs and decodes percent signs, so all other bytes are encoded (RFC 3986).
  std::string target = abstract_ ? "unix-abstract:" : "unix:";
  for (const char c : name_) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || std::strchr("/-._~", c) != nullptr;
    std::array<char, 4> code{};
    std::snprintf(code.data(), code.size(), plain ? "%c" : "%%%02X", static_cast<unsigned char>(c));
    target += code.data();
  }
  return target;
}

std::pair<sockaddr_un, socklen_t> Endpoint::address() const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + (abstract_ ? 1 : 0), name_.data(), name_.size());
  return {address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size() + 1)};
}

}  // namespace kms
