#include "builder/source/proxy.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <vector>

#include "common/text/logins.h"

namespace kms::builder {

std::string proxy_variable(const RepositoryUrl& url) {
  using Kind = RepositoryUrl::Kind;
  if (url.kind() != Kind::http && url.kind() != Kind::https) return "";
  std::vector<const char*> names{"http_proxy"};
  if (url.kind() == Kind::https) names = {"https_proxy", "HTTPS_PROXY"};
  for (const char* all : {"all_proxy", "ALL_PROXY"}) names.push_back(all);
  for (const char* name : names) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return name;
  }
  return "";
}

std::string hosts_without_proxy() {
  for (const char* name : {"no_proxy", "NO_PROXY"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    std::string names = value;
    std::ranges::replace(names, ' ', ',');
    return names;
  }
  return "";
}

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
  if (end != std::string::npos && end > begin)
    return without_secret(std::move(text), proxy.substr(begin, end - begin));
  const std::string port = host_and_port(proxy, "").port;
  const bool is_number = std::ranges::all_of(port, [](unsigned char c) { return std::isdigit(c) != 0; });
  // A login whose host is missing: its password stands where a port would be.
  return is_number ? text : without_secret(std::move(text), proxy);
}

}  // namespace kms::builder
