#include "provider/commands/plugin_call.h"

#include "common/net/endpoint.h"
#include "common/net/unix_connection.h"

namespace kms::provider {

UniqueFd connect_to_plugin(const std::string& socket) {
  const auto parsed = Endpoint::parse(socket);
  if (!parsed) {
    throw Unanswered{exit_code::usage, "--socket: " + parsed.error().line()};
  }
  if (UniqueFd connection = connect_to(*parsed)) return connection;
  const int error = errno;
  throw Unanswered{exit_code::unreachable,
                   "cannot connect to " + socket + ": " + errno_text(error) +
                       "; start a plugin there with: mock-kms-provider --listen-addr " + socket};
}

}  // namespace kms::provider
