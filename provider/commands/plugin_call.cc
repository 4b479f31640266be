#include "provider/commands/plugin_call.h"

#include "proto/endpoint.h"
#include "proto/unix_connection.h"

namespace kms::provider {

UniqueFd connect_to_plugin(const std::string& socket) {
  const auto parsed = Endpoint::parse(socket);
  if (const Failure* failure = failure_of(parsed)) {
    throw Unanswered{exit_code::usage, "--socket: " + failure->line()};
  }
  if (UniqueFd connection = connect_to(std::get<Endpoint>(parsed))) return connection;
  const int error = errno;
  throw Unanswered{exit_code::unreachable,
                   "cannot connect to " + socket + ": " + errno_text(error) +
                       "; start a plugin there with: mock-kms-provider --listen-addr " + socket};
}

}  // namespace kms::provider
