// Socket as the stream that libgit2 uses for http, and below its own TLS for https.
//
// libgit2 keeps one registration per process: made once, by the thread that is about to fetch. ssh must not
// use it, since libgit2's ssh transport reaches into the structure of its own stream (transports/ssh.c).
#pragma once

#include <optional>

#include "builder/source/meter.h"
#include "builder/source/proxy.h"

namespace kms::builder {

/// From now on libgit2's connections made on this thread are Sockets that count into `meter`, which outlives
/// them. `detour`: all go there instead; libgit2 1.5 writes requests for a plain http proxy and then sends
/// them to the server itself (transports/httpclient.c, server_connect).
void use_own_sockets(FetchMeter& meter, std::optional<HostAndPort> detour);

/// Where this thread's latest connection by libgit2 went to, before any detour.
[[nodiscard]] const HostAndPort& last_connected();

/// libgit2's own streams again.
void use_stock_sockets();

}  // namespace kms::builder
