// `serve`: checks its options, serves KMS v2 and drains at the end. The default command.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <thread>

#include "common/cli/exit_code.h"
#include "common/log/log.h"
#include "common/net/http_server.h"
#include "common/process/signals.h"
#include "common/process/startup.h"
#include "common/text/protobuf.h"
#include "provider/commands/client.h"
#include "provider/commands/commands.h"
#include "provider/compat/kubernetes_mock.h"
#include "provider/compat/vault.h"
#include "provider/config/config.h"
#include "provider/control/active_role.h"
#include "provider/core/lossy_writer.h"
#include "provider/core/provider_state.h"
#include "provider/faults/presets.h"
#include "provider/keys/key_ring.h"
#include "provider/kms/aes_service.h"
#include "provider/kms/listener.h"
#include "provider/kms/server.h"

namespace kms::provider {
namespace {

using SteadyClock = std::chrono::steady_clock;
using mock_kms::v1::Fault;
using mock_kms::v1::FaultUse;
using mock_kms::v1::ProviderConfig;

constexpr auto kubernetes_mock = "kubernetes-mock";

/// As on the command line, unchecked.
struct ServeOptions {
  std::string listen_addr = "unix:///tmp/kms.socket";
  Duration timeout = std::chrono::seconds(5);
  std::string seed_file;  ///< empty: the published test seed
  std::string instance = "default";
  std::string key_id_format = KeyIdFormat::default_text;
  KeyVersion key_version = 1;
  bool kms_v1 = false;
  std::string socket_mode = "0600";
  std::string socket_owner;  ///< empty: the process's own
  Duration drain_grace = std::chrono::seconds(5);
  std::string state_dir;            ///< empty: the current version is not kept
  std::string control_socket;       ///< empty: beside the KMS socket
  std::vector<std::string> faults;  ///< presets, violations or JSON
  std::uint64_t random_seed = 1;    ///< of the chance in faults, not of keys
  std::string config;               ///< file to follow; empty: none
  std::string metrics_addr;         ///< HOST:PORT; empty: no metrics
  bool metrics_may_fail = false;    ///< serve without metrics if the port is in use
  std::string health_addr;          ///< of vault-kube-kms's --health-port; empty: none
  std::string config_file_path;     ///< the upstream mock's SoftHSM file, which this program does not need
  std::string compat;               ///< the plugin to replace; empty: none
  VaultCompat vault;

  [[nodiscard]] bool is_kubernetes_mock() const { return compat == kubernetes_mock; }
};

/// The checked options, with the files that they name.
struct Setup {
  Endpoint endpoint;
  SocketAccess access;
  SecretBytes seed;
  KeyIdFormat key_id_format;
  std::vector<Fault> faults;  ///< complete ones
  ProviderConfig config;
  std::optional<TcpAddress> metrics;
  std::optional<TcpAddress> health;
};

void add_options(CLI::App& serve, ServeOptions& options) {
  serve.add_option("--listen-addr", options.listen_addr, "Socket: unix:///path or unix:///@abstract-name")
      ->capture_default_str();
  add_duration(serve, "--timeout", options.timeout, "Time that a new connection has to begin speaking HTTP/2",
               std::chrono::milliseconds(1));
  serve.add_option("--seed-file", options.seed_file,
                   "Seed of all keys: 32 bytes or 64 hex digits [a published test seed]");
  serve.add_option("--instance", options.instance, "Name in key ids; instances share no keys")
      ->capture_default_str();
  serve
      .add_option("--key-id-format", options.key_id_format,
                  "Form of key ids: a text with {version}, and {instance} and {check} as needed")
      ->capture_default_str();
  serve
      .add_option("--key-version", options.key_version,
                  "Version of the key to encrypt under, from 1; --state-dir may hold a higher one")
      ->capture_default_str();
  serve.add_option("--socket-mode", options.socket_mode, "Octal mode of the socket")->capture_default_str();
  serve.add_option("--socket-owner", options.socket_owner, "Owner of the socket: USER, USER:GROUP or :GROUP");
  add_duration(serve, "--drain-grace", options.drain_grace,
               "Time that calls in flight have after SIGTERM or SIGINT; a second signal ends it");
  serve.add_option("--state-dir", options.state_dir,
                   "Directory that keeps the current version of the key across restarts");
  serve.add_option("--control-socket", options.control_socket,
                   "Socket for commands such as rotate, mode 0600 [beside the KMS socket: PATH.control]");
  serve
      .add_option(
          "--fault", options.faults,
          "Fault to begin with: a preset, a violation or JSON, see 'fault add --help'; may be repeated")
      ->allow_extra_args(false);
  serve.add_option("--config", options.config,
                   "File that declares key version, faults and a scenario; the provider follows its changes");
  serve.add_option("--metrics-addr", options.metrics_addr,
                   "HOST:PORT or :PORT that answers GET /metrics for Prometheus [none]");
  serve.add_option("--config-file-path", options.config_file_path,
                   "The upstream mock's SoftHSM configuration; accepted and not needed");
  serve.add_option("--random-seed", options.random_seed, "Seed of the random choices of faults")
      ->capture_default_str();
  serve.add_flag("--kms-v1", options.kms_v1, "Serve KMS v1 too, on the same socket");
  serve.add_option("--compat", options.compat,
                   "Plugin to replace: kubernetes-mock, or vault-kube-kms, whose options follow");
}

/// Throws Error for wrong options.
void apply_compat(ServeOptions& options) {
  const ServeOptions defaults;
  if (options.is_kubernetes_mock()) {
    if (options.key_id_format != defaults.key_id_format) {
      throw Error("--key-id-format has no effect with --compat kubernetes-mock",
                  "its key ids are the version");
    }
    options.key_id_format = KubernetesMock::key_id_format;
  } else if (!options.compat.empty() && options.compat != VaultCompat::plugin_name) {
    throw Error("--compat: '" + options.compat + "' is not known",
                std::string("use ") + VaultCompat::plugin_name + " or " + kubernetes_mock);
  }
  const auto vault = options.vault.settings(options.compat == VaultCompat::plugin_name);
  if (!vault->has_value()) return;
  const auto& [listen_addr, instance, metrics_addr, metrics_asked_for, health_addr] = **vault;
  if (!listen_addr.empty()) options.listen_addr = listen_addr;
  if (options.listen_addr == defaults.listen_addr) options.listen_addr = VaultCompat::default_listen_addr;
  if (options.instance == defaults.instance) options.instance = instance;
  options.health_addr = health_addr;
  if (metrics_addr.empty() || (!metrics_asked_for && !options.metrics_addr.empty())) return;
  options.metrics_addr = metrics_addr;
  options.metrics_may_fail = !metrics_asked_for;
}

template <class T>
T value_of(Outcome<T> outcome, const std::string& option) {
  if (!outcome) throw outcome.error().within(option);
  return *std::move(outcome);
}

SocketAccess socket_access(const ServeOptions& options) {
  SocketAccess access;
  access.mode = value_of(parse_socket_mode(options.socket_mode), "--socket-mode");
  if (options.socket_owner.empty()) return access;
  const auto owner = parse_socket_owner(options.socket_owner, access);
  if (!owner) throw owner.error().within("--socket-owner");
  return access;
}

std::vector<Fault> read_faults(const std::vector<std::string>& texts) {
  std::vector<Fault> faults;
  for (const std::string& text : texts) {
    faults.push_back(value_of(complete_fault(value_of(read_fault(text), "--fault")), "--fault"));
  }
  return faults;
}

/// Throws Error (invalid_input).
Setup check(ServeOptions& options) try {
  apply_compat(options);
  Endpoint endpoint = value_of(Endpoint::parse(options.listen_addr), "--listen-addr");
  const SocketAccess access = socket_access(options);
  if (const auto instance = check_instance(options.instance); !instance) {
    throw instance.error().within("--instance");
  }
  if (options.key_version == 0) throw Error("--key-version: versions count from 1", "give 1 or more");
  Setup setup{std::move(endpoint), access, {}, {}, {}, {}, {}, {}};
  setup.key_id_format = value_of(KeyIdFormat::parse(options.key_id_format), "--key-id-format");
  setup.seed = options.seed_file.empty() ? published_test_seed() : *read_seed_file(options.seed_file);
  setup.faults = read_faults(options.faults);
  std::string digest;
  if (!options.config.empty()) {
    setup.config = value_of(read_config(options.config, digest), "--config " + options.config);
  }
  if (!options.metrics_addr.empty()) {
    setup.metrics = value_of(TcpAddress::parse(options.metrics_addr), "--metrics-addr");
  }
  if (!options.health_addr.empty()) {
    setup.health = value_of(TcpAddress::parse(options.health_addr), "--health-port");
  }
  return setup;
} catch (const Error& error) {
  throw error.with(ErrorCode::invalid_input);
}

void warn_about(const ServeOptions& options) {
  if (options.is_kubernetes_mock()) {
    log::warning("ciphertexts are base64, as of the mock of Kubernetes' integration tests, and hide nothing");
    if (!options.seed_file.empty()) log::info("--seed-file is not used: base64 has no key");
  } else if (options.seed_file.empty()) {
    log::warning(
        "keys are derived from the published test seed and protect nothing; set --seed-file to change that");
  }
  if (!options.config_file_path.empty()) {
    log::info("the SoftHSM configuration is not needed: keys are derived, and there is no PKCS #11 module",
              {{"file", options.config_file_path}});
  }
}

/// Sets the faults and waits out a late start. False if the process was asked to stop meanwhile.
bool set_faults(const Setup& setup, Faults& faults, const process::SignalFd& stop) {
  for (const Fault& fault : setup.faults) faults.add(fault);
  faults.declare({setup.config.faults().begin(), setup.config.faults().end()}, FaultUse::FILE);
  Duration late{0};
  const auto set = faults.list();
  for (const FaultUse& use : set.faults()) {
    if (use.state() == FaultUse::SET) late = std::max(late, from_proto(use.fault().late_start()));
  }
  if (late <= Duration{0}) return true;
  log::warning("a fault delays the start", {{"by", human_duration(late)}});
  pollfd stopping{stop.fd(), POLLIN, 0};
  const auto until = SteadyClock::now() + late;
  for (auto now = SteadyClock::now(); now < until; now = SteadyClock::now()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
    if (::poll(&stopping, 1, static_cast<int>(std::min<decltype(left)>(left, 1000))) == 1) return false;
  }
  return true;
}

/// Waits for a signal that ends the service and returns its name. SIGHUP reads the configuration again.
std::string wait_for_stop(const process::SignalFd& stop, const process::SignalFd& hang_up, ActiveRole& role) {
  std::array watched{pollfd{stop.fd(), POLLIN, 0}, pollfd{hang_up.fd(), POLLIN, 0}};
  while (true) {
    if (::poll(watched.data(), watched.size(), -1) < 0) {
      if (errno != EINTR) throw_errno("wait for signals");
      continue;
    }
    if (watched[0].revents != 0) return process::signal_name(stop.take());
    if (watched[1].revents == 0) continue;
    (void)hang_up.take();
    role.read_config_again();
  }
}

/// Drains on a thread of its own, so that this one sees a second signal, which ends the process with code 1.
void drain(Server& server, const process::SignalFd& stop, Duration grace) {
  const UniqueFd drained(::eventfd(0, EFD_CLOEXEC));
  if (!drained) throw_errno("make an event descriptor");
  const auto begun = SteadyClock::now();
  int cut_off = 0;
  std::thread draining([&] {
    cut_off = server.drain(grace);
    ::eventfd_write(drained.get(), 1);
  });
  std::array watched{pollfd{drained.get(), POLLIN, 0}, pollfd{stop.fd(), POLLIN, 0}};
  while (::poll(watched.data(), watched.size(), -1) < 0 && errno == EINTR) {
  }
  if (watched[0].revents == 0) {
    log::warning("second signal; calls in flight are cut off",
                 {{"signal", process::signal_name(stop.take())}});
    std::_Exit(exit_code::failed);
  }
  draining.join();
  const std::string took = human_duration(SteadyClock::now() - begun);
  if (cut_off == 0) {
    log::info("drained", {{"took", took}});
  } else {
    log::warning("the drain grace is over; calls that were still in flight are cut off",
                 {{"calls", cut_off}, {"took", took}});
  }
}

/// As the API server asks, so faults show.
HttpResponse health_of(const PluginOptions& plugin) try {
  const auto status = PluginClient(plugin).call("Status", v2::StatusRequest(), &PluginClient::Stub::Status);
  if (status.healthz() == "ok") return {"ok\n"};
  return {"healthz is not ok: " + status.healthz() + "\n", 503};
} catch (const Error& error) {
  return {error.cause() + "\n", 503};
}

/// Health over HTTP, as vault-kube-kms has it: 200 if Status is healthy, else 503 with the cause. `shared`:
/// another process of this instance may listen there too. Throws Error.
std::unique_ptr<HttpServer> serve_health(const TcpAddress& address, bool shared, const std::string& socket) {
  const PluginOptions plugin{socket, std::chrono::seconds(1)};
  const auto answer = [plugin] { return health_of(plugin); };
  auto server = std::make_unique<HttpServer>(address, shared,
                                             HttpServer::Handlers{{"/healthz", answer}, {"/readyz", answer}});
  log::info("serving health", {{"url", server->url() + "/healthz"}});
  return server;
}

std::unique_ptr<KmsService> make_service(const ServeOptions& options, KeyRing& keys) {
  if (options.is_kubernetes_mock()) return std::make_unique<KubernetesMock>(keys);
  return std::make_unique<AesService>(keys);
}

/// Serves until SIGTERM or SIGINT and drains. `begun` is when the process started, for the log.
int serve(const ServeOptions& options, Setup setup, SteadyClock::time_point begun) {
  process::require_room();
  // A reader of the log that ends or stops must not end or stop the service.
  std::signal(SIGPIPE, SIG_IGN);
  log::redirect([lines = std::make_shared<LossyWriter>(STDERR_FILENO, "mock-kms-provider")](
                    const std::string& line) { lines->write(line); });
  const process::SignalFd stop{SIGTERM, SIGINT};
  const process::SignalFd hang_up{SIGHUP};
  process::end_if_stuck(stop);  // last: its thread must not take a signal of the others
  warn_about(options);
  ProviderState state(
      {std::move(setup.seed), options.instance, setup.key_id_format,
       std::max(options.key_version, setup.config.key_version()), options.state_dir, options.random_seed},
      stop);
  if (!set_faults(setup, state.faults, stop)) return exit_code::ok;
  ActiveRole role(state, {options.control_socket, options.listen_addr, options.config, setup.metrics,
                          options.metrics_may_fail});

  // Listens before gRPC is up: a client that connects meanwhile waits in the kernel instead of being refused.
  ListeningSocket socket(setup.endpoint, setup.access);
  const auto service = make_service(options, state.keys);
  Server server(state, *service, options.kms_v1, options.timeout);
  if (UniqueFd probe = socket.take_probe()) server.serve_connection(std::move(probe));
  if (setup.metrics) state.journal.measure_latencies();
  if (!socket.handed_down()) role.acquire(false);
  log::info("started", {{"endpoint", setup.endpoint.uri()},
                        {"socket", socket.description()},
                        {"key_id", state.keys.current()->id_text},
                        {"ready_after", human_duration(SteadyClock::now() - begun)}});
  std::unique_ptr<HttpServer> health;
  if (socket.wait_until_active(stop.fd())) {
    if (socket.handed_down()) role.acquire(true);
    server.accept_on(socket, setup.access);
    if (setup.health) health = serve_health(*setup.health, socket.handed_down(), setup.endpoint.uri());
  }

  const std::string signal = wait_for_stop(stop, hang_up, role);
  log::info("stopping; calls in flight may finish",
            {{"signal", signal}, {"grace", human_duration(options.drain_grace)}});
  health.reset();
  server.stop_accepting();  // later connections are for the process that replaces this one
  role.release();
  socket.release();
  drain(server, stop, options.drain_grace);
  return exit_code::ok;
}

int run(ServeOptions& options, SteadyClock::time_point begun) {
  Setup setup = check(options);
  try {
    return serve(options, std::move(setup), begun);
  } catch (const std::exception& error) {  // a service reports its end in its log
    log::error(error.what());
    return exit_code::failed;
  }
}

}  // namespace

Command serve_command(CommandLine& line, SteadyClock::time_point begun) {
  CLI::App& command = line.add_subcommand(
      "serve", "Serve KMS v2 on a Unix socket (the default)",
      {"mock-kms-provider --listen-addr unix:///run/kms/kms.sock --state-dir /var/lib/kms",
       "mock-kms-provider --listen-addr unix:///@kms --instance blue --key-version 2",
       "head -c 32 /dev/urandom > seed && mock-kms-provider --seed-file seed --socket-owner kube:kube"});
  const auto options = std::make_shared<ServeOptions>();
  add_options(command, *options);
  options->vault.add_options(line, command);
  return {&command, [options, begun] { return run(*options, begun); }, true};
}

}  // namespace kms::provider
