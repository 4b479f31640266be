// proxy_of_environment() finds the HTTP proxy for a repository, by the same variables as curl.
#pragma once

#include <string>

#include "builder/source/repository_url.h"

namespace kms::builder {

struct HostAndPort {
  std::string host;
  std::string port;
};

/// The proxy's URL, which may hold a password; "" if no proxy is to be used. It reads http_proxy, https_proxy
/// or HTTPS_PROXY, and no_proxy or NO_PROXY (curl(1), "ENVIRONMENT"). Like curl it ignores HTTP_PROXY, which
/// a web server may have set.
[[nodiscard]] std::string proxy_of_environment(const RepositoryUrl& url);

/// Splits "scheme://[userinfo@]host[:port][/...]".
[[nodiscard]] HostAndPort host_and_port(const std::string& url, const std::string& default_port);

/// True for an IP address, with or without brackets.
[[nodiscard]] bool is_address(const std::string& host);

/// `text` with the user and password of the proxy's URL replaced, even if that URL is malformed.
[[nodiscard]] std::string without_login(std::string text, const std::string& proxy);

/// True if `host` is in a list such as "localhost,.example.org 10.0.0.0/8", or if the list is "*".
[[nodiscard]] bool without_proxy(std::string host, const std::string& list);

}  // namespace kms::builder
