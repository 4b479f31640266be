#include "provider/turn.h"

#include "common/log/log.h"
#include "provider/control/control_socket.h"
#include "provider/server/metrics.h"

namespace kms::provider {
namespace {

/// Serves commands beside the KMS socket. A process that was handed its socket takes the place of the one
/// before it, and serves without a control socket rather than not at all.
std::unique_ptr<ControlServer> open_control(const ServeOptions& options, bool handed_down,
                                            Controlled controlled) {
  const auto endpoint = control_endpoint(options.control_socket, options.listen_addr);
  Outcome<UnixListener> listener =
      !endpoint
          ? endpoint.error()
          : UnixListener::claim(*endpoint, {}, handed_down ? OnLiveSocket::replace : OnLiveSocket::fail);
  if (!listener) {
    if (endpoint && !handed_down) throw Error(listener.error());
    log::warning("there is no control socket", {{"cause", listener.error().line()}});
    return nullptr;
  }
  return std::make_unique<ControlServer>(*std::move(listener), controlled);
}

/// Like the control socket: whoever takes another process' place serves without metrics rather than not at
/// all.
std::unique_ptr<MetricsServer> open_metrics(const MetricsAddress& address, bool handed_down,
                                            std::function<std::string()> text) try {
  auto server = std::make_unique<MetricsServer>(address, handed_down, std::move(text));
  log::info("serving metrics", {{"url", server->url()}});
  return server;
} catch (const Error& error) {
  if (!handed_down) throw;
  log::warning("there are no metrics", {{"cause", error.what()}});
  return nullptr;
}

}  // namespace

Turn::Turn(const ServeSetup& setup, const std::string& node, Commanded commanded,
           const process::SignalFd& stop)
    : setup_(setup),
      commanded_(commanded),
      stop_(stop),
      runner_(commanded.faults, commanded.versions, commanded.journal, node, setup.options.instance) {}

void Turn::begin(bool handed_down) {
  const auto& [keys, versions, faults, journal] = commanded_;
  const ServeOptions& options = setup_.options;
  versions.begin_turn();
  if (!options.config.empty()) config_.emplace(options.config, Declared{faults, versions, runner_, journal});
  control_ = open_control(options, handed_down,
                          {versions, keys, faults, journal, runner_, config_ ? &*config_ : nullptr, stop_});
  if (!setup_.metrics) return;
  metrics_ = open_metrics(*setup_.metrics, handed_down, [this] {
    return metrics_text(commanded_.journal, commanded_.faults, commanded_.versions);
  });
}

void Turn::read_config_again() {
  if (config_) {
    log::info("reading the configuration again", {{"signal", "SIGHUP"}});
    config_->read_again();
  } else {
    log::info("there is no --config file to read again; going on", {{"signal", "SIGHUP"}});
  }
}

void Turn::end() {
  commanded_.journal.end_waits();
  control_.reset();
  metrics_.reset();
  config_.reset();
  runner_.end();
  commanded_.versions.end_turn();
}

}  // namespace kms::provider
