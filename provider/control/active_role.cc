#include "provider/control/active_role.h"

#include "common/log/log.h"
#include "provider/control/endpoint.h"

namespace kms::provider {
namespace {

/// A process that replaces another one must not fail for lack of a control socket; it warns and serves.
std::optional<UnixListener> listen_for_control(const ActiveRole::Options& options, bool handed_down) {
  const auto endpoint = control_endpoint(options.control_socket, options.kms_socket);
  Outcome<UnixListener> listener =
      !endpoint
          ? endpoint.error()
          : UnixListener::claim(*endpoint, {}, handed_down ? OnLiveSocket::replace : OnLiveSocket::fail);
  if (listener) return *std::move(listener);
  if (endpoint && !handed_down) throw Error(listener.error());
  log::warning("there is no control socket", {{"cause", listener.error().line()}});
  return std::nullopt;
}

/// The same for metrics.
std::unique_ptr<HttpServer> serve_metrics(const ActiveRole::Options& options, bool handed_down,
                                          const ProviderState& state) try {
  auto server = std::make_unique<HttpServer>(
      *options.metrics, handed_down,
      HttpServer::Handlers{{"/metrics", [&state] { return HttpResponse{metrics_text(state)}; }}});
  log::info("serving metrics", {{"url", server->url() + "/metrics"}});
  return server;
} catch (const Error& error) {
  if (!handed_down && !options.metrics_may_fail) throw;
  log::warning("there are no metrics", {{"cause", error.what()}});
  return nullptr;
}

}  // namespace

ActiveRole::ActiveRole(ProviderState& state, Options options)
    : state_(state), options_(std::move(options)), scenarios_(state) {}

void ActiveRole::acquire(bool handed_down) {
  state_.versions.acquire();
  if (!options_.config.empty()) config_.emplace(options_.config, state_, scenarios_);
  if (auto listener = listen_for_control(options_, handed_down)) {
    control_ = std::make_unique<ControlServer>(*std::move(listener), state_, scenarios_,
                                               config_ ? &*config_ : nullptr);
  }
  if (options_.metrics) metrics_ = serve_metrics(options_, handed_down, state_);
}

void ActiveRole::read_config_again() {
  if (config_) {
    log::info("reading the configuration again", {{"signal", "SIGHUP"}});
    config_->read_again();
  } else {
    log::info("there is no --config file to read again", {{"signal", "SIGHUP"}});
  }
}

void ActiveRole::release() {
  control_.reset();
  metrics_.reset();
  config_.reset();
  scenarios_.end();
  state_.versions.release();
}

}  // namespace kms::provider
