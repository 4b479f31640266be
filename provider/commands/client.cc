#include "provider/commands/client.h"

#include <grpcpp/create_channel_posix.h>

#include <algorithm>
#include <thread>

#include "common/io/fd.h"
#include "common/net/grpc_status.h"
#include "common/net/unix_connection.h"
#include "common/process/startup.h"
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
  process::require_room();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomInsecureChannelFromFd(authority, connection.release(), arguments);
}

/// Empty if nobody listens.
std::optional<std::string> holder_of(const std::string& kms_socket) {
  const auto endpoint = Endpoint::parse(kms_socket);
  return endpoint.ok() ? live_holder(*endpoint) : std::nullopt;
}

/// A supervisor holds the socket of its plugin, also while the plugin is paused, starts or hangs.
bool is_supervisor(const std::optional<std::string>& holder) {
  return holder && holder->ends_with("(supervisor)");
}

/// `kms_socket` has a listener, and no control socket beside it.
std::string next_step_beside(const std::string& kms_socket, const std::string& holder) {
  if (is_supervisor(holder))
    return "a supervisor holds " + kms_socket +
           ": its plugin is paused, is starting, is not mock-kms-provider, or has another --listen-addr; see "
           "'supervisor status'";
  return "the plugin on " + kms_socket +
         " is not mock-kms-provider, or has another control socket: name it with --control-socket";
}

/// A provider that takes over has no control socket for a moment, while the KMS socket always has a listener.
/// Returns an empty descriptor and sets errno if there is no provider.
UniqueFd connect_in_time(const Endpoint& control, const std::string& kms_socket, Duration timeout) {
  const auto until = SteadyClock::now() + std::min(timeout, takeover_time);
  for (;;) {
    UniqueFd connection = connect_to(control);
    const int error = errno;
    const bool may_come = !connection && (error == ENOENT || error == ECONNREFUSED) && holder_of(kms_socket);
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
  throw Error("cannot connect to " + options_.socket + ": " + connect_error_text(*endpoint, error),
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
                is_supervisor(holder_of(options_.socket))
                    ? "see 'supervisor status'"
                    : "look at the plugin's log, or wait longer with --timeout",
                ErrorCode::unreachable);
  }
  if (status.error_code() == grpc::UNIMPLEMENTED) {
    throw Error(std::string(name) + ": " + visible_text(describe(status)),
                holder_of(options_.socket).value_or("nobody") +
                    " listens there; if that is not a KMS plugin, name another socket with --socket");
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
    const auto holder = error != EACCES ? holder_of(options_.socket) : std::nullopt;
    throw Error("cannot reach a provider on " + endpoint_.uri() + ": " + connect_error_text(endpoint_, error),
                holder ? next_step_beside(options_.socket, *holder) : next_step_after(error),
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
      break;
    case grpc::UNIMPLEMENTED:
      throw Error("the socket " + endpoint_.uri() + " is not a provider's control socket; " +
                      live_holder(endpoint_).value_or("nobody") + " listens there",
                  "name it with --control-socket, or the KMS socket beside it with --socket",
                  ErrorCode::unreachable);
    default:
      break;
  }
  throw Error("no answer from the provider on " + endpoint_.uri() + ": " + describe(status),
              "look at its log, or wait longer with --timeout", ErrorCode::unreachable);
}

}  // namespace kms::provider
