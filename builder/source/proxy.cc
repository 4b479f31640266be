#include "builder/source/proxy.h"

#include <arpa/inet.h>
#include <strings.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <initializer_list>
#include <optional>

namespace kms::builder {
namespace {

std::string variable(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return value;
  }
  return "";
}

/// An IP address: 4 or 16 bytes.
using Address = std::string;

std::optional<Address> read_address(std::string text) {
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  Address address(16, '\0');
  if (::inet_pton(AF_INET6, text.c_str(), address.data()) == 1) return address;
  address.resize(4);
  if (::inet_pton(AF_INET, text.c_str(), address.data()) == 1) return address;
  return std::nullopt;
}

/// `entry` is an address or a network such as "127.0.0.0/8".
bool is_in_network(const Address& address, const std::string& entry) {
  const std::size_t slash = entry.find('/');
  const std::optional<Address> network = read_address(entry.substr(0, slash));
  if (!network || network->size() != address.size()) return false;
  std::size_t bits = address.size() * 8;
  if (slash != std::string::npos) {
    const char* end = entry.data() + entry.size();
    const auto [stop, error] = std::from_chars(entry.data() + slash + 1, end, bits);
    if (error != std::errc{} || stop != end || bits > address.size() * 8) return false;
  }
  for (std::size_t i = 0; i < bits; ++i) {
    if (((address[i / 8] ^ (*network)[i / 8]) >> (7 - i % 8) & 1) != 0) return false;
  }
  return true;
}

/// `entry` is a domain with or without a dot in front. Its hosts and the domain itself are in it.
bool is_in_domain(const std::string& host, std::string entry) {
  while (entry.ends_with('.')) entry.pop_back();
  if (entry.starts_with('.')) entry.erase(0, 1);
  if (entry.empty() || entry.size() > host.size()) return false;
  const std::size_t begin = host.size() - entry.size();
  return ::strcasecmp(host.c_str() + begin, entry.c_str()) == 0 && (begin == 0 || host[begin - 1] == '.');
}

}  // namespace

HostAndPort host_and_port(const std::string& url, const std::string& default_port) {
  const std::size_t scheme = url.find("://");
  std::string rest = scheme == std::string::npos ? url : url.substr(scheme + 3);
  rest = rest.substr(0, rest.find_first_of("/?#"));
  if (const std::size_t at = rest.rfind('@'); at != std::string::npos) rest.erase(0, at + 1);
  HostAndPort place{rest, default_port};
  const std::size_t colon = rest.rfind(':');
  if (colon != std::string::npos && rest.find(']', colon) == std::string::npos) {
    place = {rest.substr(0, colon), rest.substr(colon + 1)};
  }
  if (place.host.starts_with('[') && place.host.ends_with(']')) {
    place.host = place.host.substr(1, place.host.size() - 2);
  }
  return place;
}

std::string without_login(std::string text, const std::string& proxy) {
  const std::size_t scheme = proxy.find("://");
  const std::size_t begin = scheme == std::string::npos ? 0 : scheme + 3;
  const std::size_t end = proxy.rfind('@');
  if (end == std::string::npos || end <= begin) return text;
  const std::string login = proxy.substr(begin, end - begin);
  for (std::size_t at = 0; (at = text.find(login, at)) != std::string::npos; at += 3)
    text.replace(at, login.size(), "***");
  return text;
}

bool is_address(const std::string& host) { return read_address(host).has_value(); }

bool without_proxy(std::string host, const std::string& list) {
  if (list == "*") return true;
  while (host.ends_with('.')) host.pop_back();
  const std::optional<Address> address = read_address(host);
  std::size_t begin = 0;
  while ((begin = list.find_first_not_of(", \t", begin)) != std::string::npos) {
    const std::size_t end = std::min(list.find_first_of(", \t", begin), list.size());
    const std::string entry = list.substr(begin, end - begin);
    if (address ? is_in_network(*address, entry) : is_in_domain(host, entry)) return true;
    begin = end;
  }
  return false;
}

std::string proxy_of_environment(const RepositoryUrl& url) {
  using Kind = RepositoryUrl::Kind;
  if (url.kind() != Kind::http && url.kind() != Kind::https) return "";
  std::string proxy =
      url.kind() == Kind::http ? variable({"http_proxy"}) : variable({"https_proxy", "HTTPS_PROXY"});
  if (proxy.empty() ||
      without_proxy(host_and_port(url.display(), "").host, variable({"no_proxy", "NO_PROXY"}))) {
    return "";
  }
  return proxy.find("://") == std::string::npos ? "http://" + proxy : proxy;
}

}  // namespace kms::builder
