#include "provider/commands/client.h"

#include <grpcpp/create_channel_posix.h>

#include <algorithm>
#include <thread>

#include "common/io/fd.h"
#include "common/net/grpc_status.h"
#include "common/net/unix_connection.h"
#include "common/text/escape.h"
#include "provider/control/endpoint.h"

namespace kms::provider {
namespace {

constexpr auto retry_interval = std::chrono::milliseconds(20);
constexpr Duration takeover_time = std::chrono::seconds(1);  ///< more than a provider needs to take over
constexpr auto authority = "localhost";                      // the API server's

std::string next_step_after(int connect_error) {
  if (connect_error == EACCES) return "run as the provider's user or as root";
  return "start one with 'mock-kms-provider serve', or name its socket with --socket, MOCK_KMS_SOCKET or "
         "--control-socket" +
         answering_providers();
}

/// The answer of a plugin may be larger than gRPC's default of 4 MiB.
std::shared_ptr<grpc::Channel> channel_over(UniqueFd connection) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomInsecureChannelFromFd(authority, connection.release(), arguments);
}

bool answers(const std::string& kms_socket) {
  const auto endpoint = Endpoint::parse(kms_socket);
  return endpoint.ok() && connect_to(*endpoint);
}

/// A provider that takes over has no control socket for a moment, while the KMS socket always has a listener.
/// Returns an empty descriptor and sets errno if there is no provider.
UniqueFd connect_in_time(const Endpoint& control, const std::string& kms_socket, Duration timeout) {
  const auto until = SteadyClock::now() + std::min(timeout, takeover_time);
  for (;;) {
    UniqueFd connection = connect_to(control);
    const int error = errno;
    const bool may_come = !connection && (error == ENOENT || error == ECONNREFUSED) && answers(kms_socket);
    if (!may_come || SteadyClock::now() + retry_interval > until) {
      errno = error;
      return connection;
    }
    std::this_thread::sleep_for(retry_interval);
  }
}

}  // namespace

void add_plugin_options(CLI::App& command, PluginOptions& options) {
  command.add_option("--socket", options.socket, "KMS socket: unix:///path or unix:///@abstract-name")
      ->capture_default_str();
  add_duration(command, "--timeout", options.timeout, "Time to wait for the answer",
               std::chrono::milliseconds(1));
}

void add_provider_options(CLI::App& command, ProviderOptions& options) {
  add_plugin_options(command, options);
  command.add_option("--control-socket", options.control_socket,
                     "Control socket of the provider [beside --socket]");
}

/// connect(2) here rather than in gRPC: its errno is the cause, and no back-off delays the answer.
std::shared_ptr<grpc::Channel> PluginClient::connect() const {
  const auto endpoint = Endpoint::parse(options_.socket);
  if (!endpoint) throw endpoint.error().within("--socket").with(ErrorCode::invalid_input);
  if (UniqueFd connection = connect_to(*endpoint)) {
    return channel_over(std::move(connection));
  }
  const int error = errno;
  throw Error("cannot connect to " + options_.socket + ": " + errno_text(error),
              error == EACCES ? "run as the plugin's user or as root"
                              : "start a plugin there, or name its socket with --socket or MOCK_KMS_SOCKET" +
                                    answering_providers(),
              ErrorCode::unreachable);
}

void PluginClient::check(const char* name, const grpc::Status& status, const CallDeadline& deadline) const {
  if (status.ok()) return;
  if (deadline.ended(status)) {
    throw Error(std::string(name) + ": no answer on " + options_.socket + " within " +
                    human_duration(options_.timeout),
                "", ErrorCode::unreachable);
  }
  throw Error(std::string(name) + ": " + visible_text(describe(status)));
}

ControlClient::ControlClient(const ProviderOptions& options)
    : options_(options), endpoint_(valid_input(control_endpoint(options.control_socket, options.socket))) {
  connect();
}

void ControlClient::connect() {
  UniqueFd connection = connect_in_time(endpoint_, options_.socket, options_.timeout);
  if (!connection) {
    const int error = errno;
    const bool is_other = error != EACCES && answers(options_.socket);
    throw Error("cannot reach a provider on " + endpoint_.uri() + ": " + errno_text(error),
                is_other ? "the plugin on " + options_.socket +
                               " is not mock-kms-provider, or has another control socket: name it with "
                               "--control-socket"
                         : next_step_after(error),
                ErrorCode::unreachable);
  }
  stub_ = std::make_unique<Stub>(channel_over(std::move(connection)));
}

bool ControlClient::leave_ending_provider(const grpc::Status& status, SteadyClock::time_point until) {
  const bool ended = status.error_code() == grpc::CANCELLED || status.error_code() == grpc::UNAVAILABLE;
  if (answered_ || !ended || SteadyClock::now() + retry_interval > until) return false;
  stub_.reset();
  std::this_thread::sleep_for(retry_interval);
  return true;
}

void ControlClient::check(const grpc::Status& status) const {
  switch (status.error_code()) {
    case grpc::OK:
      return;
    case grpc::FAILED_PRECONDITION:
    case grpc::NOT_FOUND:
    case grpc::INTERNAL:
      throw Error(status.error_message());
    case grpc::INVALID_ARGUMENT:
      throw Error(status.error_message(), "", ErrorCode::invalid_input);
    case grpc::CANCELLED:
    case grpc::UNAVAILABLE:
      if (answered_) {
        throw Error("the provider on " + endpoint_.uri() + " ended",
                    "see its log for the cause, then run the command again", ErrorCode::unreachable);
      }
      [[fallthrough]];
    default:
      throw Error("no answer from the provider on " + endpoint_.uri() + ": " + describe(status), "",
                  ErrorCode::unreachable);
  }
}

}  // namespace kms::provider
