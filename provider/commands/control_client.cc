#include "provider/commands/control_client.h"

#include <grpcpp/create_channel_posix.h>

#include <chrono>
#include <thread>

#include "common/cli/exit_code.h"
#include "common/net/grpc_status.h"
#include "common/net/unix_connection.h"
#include "provider/control/control_socket.h"

namespace kms::provider {
namespace {

constexpr auto connect_again_after = std::chrono::milliseconds(20);

std::string hint_for(int error) {
  if (error == EACCES) return "run as the provider's user or as root";
  return "start one with 'mock-kms-provider serve', or name its socket with --socket or --control-socket";
}

/// A provider that takes another's place has no control socket for a moment, while somebody listens on the
/// KMS socket all the time. Empty, with errno set, where there is none.
UniqueFd connect_in_time(const Endpoint& control, const std::string& kms_socket, Duration timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  const auto kms = Endpoint::parse(kms_socket);
  for (;;) {
    UniqueFd connection = connect_to(control);
    const int error = errno;
    const bool may_come =
        !connection && (error == ENOENT || error == ECONNREFUSED) && kms.ok() && connect_to(*kms);
    if (!may_come || std::chrono::steady_clock::now() + connect_again_after > until) {
      errno = error;
      return connection;
    }
    std::this_thread::sleep_for(connect_again_after);
  }
}

}  // namespace

ControlClient::ControlClient(const ControlOptions& options) : options_(options) {
  const auto endpoint = control_endpoint(options.control_socket, options.socket);
  if (!endpoint) throw Unanswered{exit_code::usage, endpoint.error().line()};
  endpoint_ = *endpoint;
  connect();
}

void ControlClient::connect() {
  UniqueFd connection = connect_in_time(*endpoint_, options_.socket, options_.timeout);
  if (!connection) {
    const int error = errno;
    throw Unanswered{exit_code::unreachable, "cannot reach a provider on " + endpoint_->uri() + ": " +
                                                 errno_text(error) + "; " + hint_for(error)};
  }
  stub_ = mock_kms::v1::ProviderControl::NewStub(
      grpc::CreateInsecureChannelFromFd("localhost", connection.release()));
}

bool ControlClient::is_for_the_next(const grpc::Status& status, std::chrono::system_clock::time_point until) {
  const bool ended = status.error_code() == grpc::StatusCode::CANCELLED ||
                     status.error_code() == grpc::StatusCode::UNAVAILABLE;
  if (answered_ || !ended || std::chrono::system_clock::now() + connect_again_after > until) return false;
  stub_.reset();
  std::this_thread::sleep_for(connect_again_after);
  return true;
}

void ControlClient::check(const grpc::Status& status) const {
  if (status.ok()) return;
  switch (status.error_code()) {
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::NOT_FOUND:
    case grpc::StatusCode::INTERNAL:
      throw Unanswered{exit_code::failed, status.error_message()};
    case grpc::StatusCode::INVALID_ARGUMENT:
      throw Unanswered{exit_code::usage, status.error_message()};
    default:
      throw Unanswered{exit_code::unreachable,
                       "no answer from the provider on " + endpoint_->uri() + ": " + describe(status)};
  }
}

}  // namespace kms::provider
