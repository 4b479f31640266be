// Which HTTP proxy the environment asks for. Pure but for reading the environment; any thread.
#pragma once

#include <string>

#include "builder/source/repository_url.h"

namespace kms::builder {

struct HostAndPort {
  std::string host;
  std::string port;
};

/// The proxy's URL for this repository by http_proxy, https_proxy or HTTPS_PROXY and no_proxy or NO_PROXY, as
/// curl reads them (curl(1), "ENVIRONMENT"; HTTP_PROXY is not read, since a web server may have set it); ""
/// where there is none to use. It may hold a password.
[[nodiscard]] std::string proxy_of_environment(const RepositoryUrl& url);

/// Of "scheme://[userinfo@]host[:port][/...]". Pure.
[[nodiscard]] HostAndPort host_and_port(const std::string& url, const std::string& default_port);

/// `text` with the user and password of the proxy's URL replaced, also where that URL is none. Pure.
[[nodiscard]] std::string without_login(std::string text, const std::string& proxy);

/// Whether `host` is in a list such as "localhost,.example.org" or "*". Pure.
[[nodiscard]] bool without_proxy(const std::string& host, const std::string& list);

}  // namespace kms::builder
