// The HTTP proxy and its exceptions, as libcurl takes them from the environment, and the place that a URL
// names.
#pragma once

#include <string>

#include "builder/source/repository_url.h"

namespace kms::builder {

struct HostAndPort {
  std::string host;
  std::string port;
};

/// The variable that names the proxy for a repository, whatever no_proxy says; "" if none does
/// (libcurl-env(3)).
[[nodiscard]] std::string proxy_variable(const RepositoryUrl& url);

/// The hosts of no_proxy or NO_PROXY with commas between them; "" if neither is set.
[[nodiscard]] std::string hosts_without_proxy();

/// Splits "scheme://[userinfo@]host[:port][/...]".
[[nodiscard]] HostAndPort host_and_port(const std::string& url, const std::string& default_port);

/// `text` with the user and password of the proxy's URL replaced, even if that URL is malformed.
[[nodiscard]] std::string without_login(std::string text, const std::string& proxy);

}  // namespace kms::builder
