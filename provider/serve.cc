#include "provider/serve.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "proto/program/exit_code.h"
#include "proto/program/log.h"
#include "provider/control/control_server.h"
#include "provider/control/control_socket.h"
#include "provider/faults/fault_presets.h"
#include "provider/keys/key_versions.h"
#include "provider/keys/seed.h"
#include "provider/proto_duration.h"
#include "provider/server/kms_service.h"
#include "provider/server/listening_socket.h"
#include "provider/server/metrics.h"
#include "provider/server/server.h"
#include "provider/signals.h"

namespace kms::provider {
namespace {

using Clock = std::chrono::steady_clock;
using mock_kms::v1::Fault;
using mock_kms::v1::FaultUse;
using mock_kms::v1::ProviderConfig;

/// Drains on a thread of its own, so that this one can see a second signal.
int drain(Server& server, const Signals& stop, Duration grace) {
  const UniqueFd drained(::eventfd(0, EFD_CLOEXEC));
  if (!drained) throw_errno("make an event descriptor");
  const auto begun = Clock::now();
  int cut_off = 0;
  std::thread draining([&] {
    cut_off = server.drain(grace);
    ::eventfd_write(drained.get(), 1);
  });
  std::array watched{pollfd{drained.get(), POLLIN, 0}, pollfd{stop.fd(), POLLIN, 0}};
  while (::poll(watched.data(), watched.size(), -1) < 0 && errno == EINTR) {
  }
  if (watched[0].revents == 0) {
    log::warning("second signal; calls in flight are cut off", {{"signal", stop.take()}});
    std::_Exit(exit_code::failed);
  }
  draining.join();
  const std::string took = human_duration(Clock::now() - begun);
  if (cut_off == 0) {
    log::info("drained", {{"took", took}});
  } else {
    log::warning("the drain grace is over; calls that were still in flight are cut off",
                 {{"calls", cut_off}, {"took", took}});
  }
  return exit_code::ok;
}

/// Serves commands beside the KMS socket. A process that was handed its socket takes the place of the one
/// before it, and serves without a control socket rather than not at all.
std::unique_ptr<ControlServer> open_control(const ServeOptions& options, bool handed_down,
                                            Controlled controlled) {
  const auto endpoint = control_endpoint(options.control_socket, options.listen_addr);
  const Failure* failure = failure_of(endpoint);
  Outcome<UnixListener> listener =
      failure != nullptr ? *failure
                         : UnixListener::claim(std::get<Endpoint>(endpoint), {},
                                               handed_down ? Incumbent::replaced : Incumbent::stays);
  if (const Failure* none = failure_of(listener)) {
    if (failure == nullptr && !handed_down) throw Error(*none);
    log::warning("there is no control socket", {{"cause", none->line()}});
    return nullptr;
  }
  return std::make_unique<ControlServer>(std::move(std::get<UnixListener>(listener)), controlled);
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

Outcome<std::vector<Fault>> read_faults(const std::vector<std::string>& texts) {
  std::vector<Fault> faults;
  for (const std::string& text : texts) {
    const auto read = read_fault(text);
    auto complete = failure_of(read) != nullptr ? read : complete_fault(std::get<Fault>(read));
    if (const Failure* failure = failure_of(complete))
      return Failure{"--fault: " + failure->cause, failure->hint};
    faults.push_back(std::move(std::get<Fault>(complete)));
  }
  return faults;
}

/// Sets the faults, and waits out a late start. False where the process is told to end before that.
bool begin_with(const ServeSetup& setup, Faults& faults, const Signals& stop) {
  for (const Fault& fault : setup.faults) faults.add(fault);
  faults.declare({setup.config.faults().begin(), setup.config.faults().end()}, FaultUse::FILE);
  Duration late{0};
  const auto set = faults.list();
  for (const FaultUse& use : set.faults()) {
    if (use.concerns_us() && !use.replaced()) late = std::max(late, duration_of(use.fault().late_start()));
  }
  if (late <= Duration{0}) return true;
  log::warning("a fault delays the start", {{"by", human_duration(late)}});
  pollfd stopping{stop.fd(), POLLIN, 0};
  const auto until = Clock::now() + late;
  for (auto now = Clock::now(); now < until; now = Clock::now()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
    if (::poll(&stopping, 1, static_cast<int>(std::min<decltype(left)>(left, 1000))) == 1) return false;
  }
  return true;
}

/// Until a signal that ends the service, whose name it returns. SIGHUP has the configuration read again.
std::string wait_for_end(const Signals& stop, const Signals& hang_up, ConfigFollower* config) {
  std::array watched{pollfd{stop.fd(), POLLIN, 0}, pollfd{hang_up.fd(), POLLIN, 0}};
  while (true) {
    if (::poll(watched.data(), watched.size(), -1) < 0) {
      if (errno != EINTR) throw_errno("wait for signals");
      continue;
    }
    if (watched[0].revents != 0) return stop.take();
    if (watched[1].revents == 0) continue;
    (void)hang_up.take();
    if (config != nullptr) {
      log::info("reading the configuration again", {{"signal", "SIGHUP"}});
      config->read_again();
    } else {
      log::info("there is no --config file to read again; going on", {{"signal", "SIGHUP"}});
    }
  }
}

Outcome<ProviderConfig> config_of(const ServeOptions& options) {
  std::string digest;
  return options.config.empty() ? ProviderConfig() : read_config(options.config, digest);
}

std::string node_name() {
  const char* name = std::getenv("NODE_NAME");
  return name == nullptr ? "" : name;
}

std::optional<StateFile> state_file(const ServeOptions& options) {
  if (options.state_dir.empty()) return std::nullopt;
  return StateFile(options.state_dir, options.instance);
}

}  // namespace

void forbid_core_dumps() {
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) throw_errno("forbid core dumps by RLIMIT_CORE");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) throw_errno("forbid core dumps by PR_SET_DUMPABLE");
}

Outcome<ServeSetup> check(const ServeOptions& options) {
  const auto endpoint = Endpoint::parse(options.listen_addr);
  if (const Failure* failure = failure_of(endpoint)) {
    return Failure{"--listen-addr: " + failure->cause, failure->hint};
  }
  const auto mode = parse_socket_mode(options.socket_mode);
  if (const Failure* failure = failure_of(mode))
    return Failure{"--socket-mode: " + failure->cause, failure->hint};
  SocketAccess access{std::get<mode_t>(mode), {}, {}};
  if (!options.socket_owner.empty()) {
    if (const auto failure = parse_socket_owner(options.socket_owner, access)) {
      return Failure{"--socket-owner: " + failure->cause, failure->hint};
    }
  }
  if (const auto failure = refuse_instance(options.instance)) {
    return Failure{"--instance: " + failure->cause, failure->hint};
  }
  if (options.key_version == 0) return Failure{"--key-version: versions count from 1", ""};
  Outcome<SecretBytes> seed =
      options.seed_file.empty() ? published_test_seed() : read_seed_file(options.seed_file);
  if (const Failure* failure = failure_of(seed)) return *failure;
  auto faults = read_faults(options.faults);
  if (const Failure* failure = failure_of(faults)) return *failure;
  auto config = config_of(options);
  if (const Failure* failure = failure_of(config)) {
    return Failure{"--config " + options.config + ": " + failure->cause, failure->hint};
  }
  std::optional<MetricsAddress> metrics;
  if (!options.metrics_addr.empty()) {
    auto parsed = MetricsAddress::parse(options.metrics_addr);
    if (const Failure* failure = failure_of(parsed))
      return Failure{"--metrics-addr: " + failure->cause, failure->hint};
    metrics = std::move(std::get<MetricsAddress>(parsed));
  }
  return ServeSetup{std::get<Endpoint>(endpoint),
                    access,
                    std::move(std::get<SecretBytes>(seed)),
                    options,
                    std::move(std::get<std::vector<Fault>>(faults)),
                    std::move(std::get<ProviderConfig>(config)),
                    std::move(metrics)};
}

int serve(ServeSetup setup, Clock::time_point begun) {
  // Whoever reads our log may go away; that must not end the service.
  std::signal(SIGPIPE, SIG_IGN);
  const Signals stop{SIGTERM, SIGINT};
  const Signals hang_up{SIGHUP};
  const ServeOptions& options = setup.options;
  if (options.seed_file.empty()) {
    log::warning(
        "keys are derived from the published test seed and protect nothing; set --seed-file to change that");
  }
  if (!options.config_file_path.empty()) {
    log::info("the SoftHSM configuration is not needed: keys are derived, and there is no PKCS #11 module",
              {{"file", options.config_file_path}});
  }
  Journal journal;
  KeyRing keys(std::move(setup.seed), options.instance,
               std::max(options.key_version, setup.config.key_version()));
  KeyVersions versions(keys, state_file(options), [&](const KeyVersions::Rotation& rotation) {
    const std::string& key_id = keys.at(rotation.to)->id_text;
    log::info("rotated the key", {{"from", rotation.from}, {"to", rotation.to}, {"key_id", key_id}});
    journal.note("rotated the key from version " + std::to_string(rotation.from) + " to " + key_id);
  });
  versions.take_up_stored();
  const KmsService service(keys);
  Faults faults(FaultPlan(options.random_seed, node_name(), options.instance));
  if (!begin_with(setup, faults, stop)) return exit_code::ok;
  ScenarioPlayer player(faults, versions, journal, node_name(), options.instance);

  // Listens before gRPC is up: a client that connects meanwhile waits in the kernel instead of being refused.
  ListeningSocket socket(setup.endpoint, setup.access);
  Server server(service, faults, journal, options.timeout);
  if (UniqueFd probe = socket.take_probe()) server.serve_connection(std::move(probe));
  std::optional<ConfigFollower> config;
  std::unique_ptr<ControlServer> control;
  std::unique_ptr<MetricsServer> metrics;
  if (setup.metrics) journal.measure_latencies();
  // Of two processes of one instance only the one whose turn it is rotates, plays and is commanded.
  const auto begin_turn = [&] {
    versions.begin_turn();
    if (!options.config.empty()) config.emplace(options.config, Declared{faults, versions, player, journal});
    control = open_control(options, socket.handed_down(),
                           {versions, keys, faults, journal, player, config ? &*config : nullptr, stop});
    if (!setup.metrics) return;
    metrics = open_metrics(*setup.metrics, socket.handed_down(),
                           [&] { return metrics_text(journal, faults, versions); });
  };
  if (!socket.handed_down()) begin_turn();
  log::info("started", {{"endpoint", setup.endpoint.uri()},
                        {"socket", socket.description()},
                        {"key_id", keys.current()->id_text},
                        {"ready_after", human_duration(Clock::now() - begun)}});
  if (socket.wait_for_turn(stop.fd())) {
    if (socket.handed_down()) begin_turn();
    server.accept_on(socket.fd(), setup.access);
  }

  const std::string signal = wait_for_end(stop, hang_up, config ? &*config : nullptr);
  log::info("stopping; calls in flight may finish",
            {{"signal", signal}, {"grace", human_duration(options.drain_grace)}});
  server.stop_accepting();  // what connects from now on is for whoever takes this process' place
  journal.end_waits();
  control.reset();
  metrics.reset();
  config.reset();
  player.end();
  versions.end_turn();  // whoever takes this process' place rotates from now on
  socket.release();
  return drain(server, stop, options.drain_grace);
}

}  // namespace kms::provider
