#include "supervisor/commands/run.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "common/log/log.h"
#include "common/net/unix_connection.h"
#include "supervisor/daemon/supervisor.h"
#include "supervisor/instance/socket.h"

namespace kms::supervisor {
namespace {

constexpr auto at_least_one = std::chrono::milliseconds(1);
constexpr auto patience_with_the_dying = std::chrono::seconds(2);

void add_socket_options(CLI::App& run, RunOptions& options) {
  run.add_option("--socket", options.socket, "Where the plugin listens: unix:///path or unix:///@abstract")
      ->capture_default_str();
  run.add_option("--socket-mode", options.socket_mode,
                 "Octal mode of the socket where the supervisor binds it")
      ->capture_default_str();
  run.add_option("--socket-owner", options.socket_owner, "Its owner: USER, USER:GROUP or :GROUP");
  run.add_option("--handover", options.handover,
                 "Whether the supervisor binds the socket and hands it down: auto (find out), require or off")
      ->transform(CLI::CheckedTransformer(std::map<std::string, HandoverMode>{
          {"auto", HandoverMode::automatic}, {"require", HandoverMode::require}, {"off", HandoverMode::off}}))
      ->type_name("MODE")
      ->default_str("auto");
  run.add_option("--instances", options.instances,
                 "Plugins to keep, each with its number in place of {n} in --socket, command and environment")
      ->check(CLI::Range(1U, 1000U))
      ->capture_default_str();
}

void add_plugin_options(CLI::App& run, RunOptions& options) {
  run.add_option("--build-info", options.build_info, "The binary's build-info.json [beside the binary]");
  run.add_option("--termination-log", options.termination_log,
                 "File that gets the cause where the supervisor ends on its own; used if it exists")
      ->capture_default_str();
  run.add_option("--metrics-addr", options.metrics_addr,
                 "HOST:PORT or :PORT where GET /metrics is answered for Prometheus [nowhere]");
  run.add_option("--child-user", options.child_user,
                 "The plugin's user: USER or USER:GROUP [the supervisor's]");
  run.add_option("--child-memory", options.child_memory,
                 "Private memory of a plugin's process at most: bytes, or with KiB, MiB, GiB; 0: no limit")
      ->transform(CLI::AsSizeValue(false).description(""))
      ->type_name("SIZE")
      ->capture_default_str();
  run.add_option("--child-processes", options.child_threads,
                 "Processes and threads of the plugin's user at most; 0: no limit")
      ->capture_default_str();
  run.add_option("--child-output", options.child_output, "How the plugin's lines are passed on: text or json")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, log::Format>{{"text", log::Format::text}, {"json", log::Format::json}}))
      ->type_name("FORMAT")
      ->default_str("text");
}

void add_probe_options(CLI::App& run, RunOptions& options) {
  Policy& policy = options.policy;
  add_duration(run, "--probe-interval", policy.probe_interval, "From one Status probe to the next",
               at_least_one);
  add_duration(run, "--probe-timeout", policy.probe_timeout, "A probe without an answer by then is silent",
               at_least_one);
  run.add_option("--failure-threshold", policy.failure_threshold,
                 "Silent probes in a row before the plugin is ended")
      ->check(CLI::Range(1U, 1000U))
      ->capture_default_str();
  run.add_option("--deep-probe-every", options.deep_probe_every,
                 "Each n-th probe encrypts and decrypts a canary too and compares the key_ids; 0: none does")
      ->capture_default_str();
  add_duration(run, "--slow-after", options.slow_after,
               "An answer that takes longer is told as slow; 0: none");
  add_duration(run, "--startup-timeout", policy.startup_timeout, "From launch to the first answer",
               at_least_one);
}

void add_restart_options(CLI::App& run, RunOptions& options) {
  Policy& policy = options.policy;
  run.add_flag("--standby", policy.standby, "Keep a second process ready that takes over at a death or hang");
  run.add_option("--restart-on", policy.restart_on_unhealthy,
                 "What is repaired: silence (and death), or also unhealthy: bad answers")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, bool>{{"silence", false}, {"unhealthy", true}}))
      ->type_name("WHAT")
      ->default_str("silence");
  add_duration(run, "--hang-grace", policy.hang_grace, "From TERM to KILL of a silent plugin");
  add_duration(run, "--stop-grace", policy.stop_grace,
               "From the forwarded TERM or INT to KILL when stopping");
  add_duration(run, "--backoff-initial", policy.restart_delay.initial, "The wait before the second restart",
               at_least_one);
  add_duration(run, "--backoff-max", policy.restart_delay.cap, "The longest wait before a restart", at_least_one);
  add_duration(run, "--stable-after", policy.restart_delay.stable_after, "A life this long resets the back-off");
  run.add_flag("--watch-binary", options.watch_binary,
               "Restart as planned when another binary is published that its build-info.json describes");
  run.add_option(
         "--max-restarts", policy.max_restarts,
         "More deaths than this within the window end the supervisor, for the kubelet to see; 0: never")
      ->capture_default_str();
  add_duration(run, "--max-restarts-window", policy.max_restarts_window, "The window of --max-restarts",
               at_least_one);
}

/// Makes the control socket's directory where it is missing, open to this user only.
void make_parent(const Endpoint& endpoint) {
  if (endpoint.abstract()) return;
  const auto parent = std::filesystem::path(endpoint.name()).parent_path();
  std::error_code error;
  if (std::filesystem::exists(parent, error)) return;
  std::filesystem::create_directories(parent.parent_path(), error);
  if (::mkdir(parent.c_str(), 0700) != 0 && errno != EEXIST) {
    throw_errno("make directory " + parent.string(), "choose another --control-socket");
  }
}

Outcome<SocketAccess> access_of(const RunOptions& options) {
  const auto mode = parse_socket_mode(options.socket_mode);
  if (!mode) return mode.error().within("--socket-mode");
  SocketAccess access{*mode, {}, {}};
  if (options.socket_owner.empty()) return access;
  const auto owner = parse_socket_owner(options.socket_owner, access);
  if (!owner) return owner.error().within("--socket-owner");
  return access;
}

/// Whom the plugin runs as. Only root can choose.
Outcome<std::optional<process::Identity>> identity_of(const std::string& child_user) {
  if (child_user.empty()) return std::nullopt;
  auto identity = process::find_identity(child_user);
  if (!identity) return identity.error().within("--child-user");
  if (::geteuid() != 0)
    return Error("--child-user: only root can start processes of other users", "leave it out");
  return std::optional(*std::move(identity));
}

Outcome<std::optional<MetricsAddress>> metrics_address_of(const RunOptions& options) {
  if (options.metrics_addr.empty()) return std::nullopt;
  auto address = MetricsAddress::parse(options.metrics_addr);
  if (!address) return address.error().within("--metrics-addr");
  return std::optional(*std::move(address));
}

}  // namespace

CLI::App& add_run(CommandLine& line, RunOptions& options) {
  CLI::App& run =
      *line.app().add_subcommand("run", "Launch a plugin, watch its health by RPC and restart it");
  add_socket_options(run, options);
  add_plugin_options(run, options);
  add_probe_options(run, options);
  add_restart_options(run, options);
  run.add_option("command", options.command, "The plugin and its arguments, after '--'")->required();
  CommandLine::examples(
      run,
      {"supervisor run -- mock-kms-provider --listen-addr=unix:///var/run/kmsplugin/kms.sock",
       "supervisor run --socket unix:///@kms --backoff-max 5s -- ./plugin --addr unix:///@kms",
       "supervisor run --instances 3 --socket unix:///run/kms-{n}.sock -- mock-kms-provider --instance {n}"});
  return run;
}

Outcome<SupervisorConfig> plan_of(const RunOptions& options) {
  auto metrics = metrics_address_of(options);
  if (!metrics) return metrics.error();
  const auto access = access_of(options);
  if (!access) return access.error();
  const auto identity = identity_of(options.child_user);
  if (!identity) return identity.error();
  if (options.instances > 1 && options.socket.find("{n}") == std::string::npos)
    return Error(
        "--socket: " + std::to_string(options.instances) + " instances cannot share " + options.socket,
        "write {n} where the instance's number is to stand");
  SupervisorConfig plan{{}, options.termination_log, *std::move(metrics)};
  for (unsigned number = 1; number <= options.instances; ++number) {
    const auto socket = Endpoint::parse(numbered(options.socket, number));
    if (!socket) return socket.error().within("--socket");
    process::Launch plugin;
    for (const std::string& word : options.command) plugin.command.push_back(numbered(word, number));
    plugin.identity = *identity;
    if (options.child_memory > 0) plugin.memory = options.child_memory;
    if (options.child_threads > 0) plugin.threads = options.child_threads;
    plugin.environment = plugin_environment(number);
    const std::string control = control_of(plugin.command, plugin.environment, *socket);
    plan.plugins.push_back({*socket, *access, options.handover, std::move(plugin), control,
                            options.build_info, options.watch_binary, options.child_output,
                            options.deep_probe_every, options.slow_after, options.policy});
  }
  return plan;
}

int run_supervisor(SupervisorConfig plan, const Endpoint& control) {
  const process::SignalFd signals = Supervisor::block_signals();
  make_parent(control);
  auto listener = UnixListener::claim(control);
  if (!listener) throw Error(listener.error());
  for (const InstanceConfig& plugin : plan.plugins) {
    // The plugin of a supervisor that was killed is killed with it, and may hold its socket a little longer
    // than this one takes to start.
    await_dying_listener(plugin.socket, patience_with_the_dying);
    if (const auto holder = live_holder(plugin.socket)) {
      throw Error("cannot supervise a plugin on " + plugin.socket.uri() + ": it is in use by " + *holder,
                  "stop that process or choose another --socket");
    }
    const std::string elsewhere =
        other_endpoint(plugin.plugin.command, plugin.plugin.environment, plugin.socket);
    if (!elsewhere.empty())
      log::warning(elsewhere + "; unless it takes a socket handed down, it is never found");
  }
  const std::string socket = plan.plugins.front().socket.uri();
  Supervisor supervisor(std::move(plan), *std::move(listener), signals);
  log::info("supervising", {{"socket", socket}, {"control-socket", control.uri()}, {"pid", ::getpid()}});
  return supervisor.run();
}

}  // namespace kms::supervisor
