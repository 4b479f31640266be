// `supervisor run`: supervises plugins until a signal ends it.
#include "supervisor/commands/run.h"

#include <unistd.h>

#include <memory>

#include "common/log/log.h"
#include "common/log/termination_message.h"
#include "common/net/unix_connection.h"
#include "common/process/startup.h"
#include "supervisor/commands/commands.h"
#include "supervisor/daemon/supervisor.h"
#include "supervisor/instance/socket.h"

namespace kms::supervisor {
namespace {

constexpr auto at_least_one = std::chrono::milliseconds(1);
constexpr auto termination_log_option = "--termination-log";
constexpr auto dying_listener_timeout = std::chrono::seconds(2);

void add_socket_options(CLI::App& run, RunOptions& options) {
  run.add_option("--socket", options.socket,
                 "Socket on which the plugin listens: unix:///path or unix:///@abstract")
      ->capture_default_str();
  run.add_option("--socket-mode", options.socket_mode, "Octal mode of the socket if the supervisor binds it")
      ->capture_default_str();
  run.add_option("--socket-owner", options.socket_owner,
                 "Owner of the socket if the supervisor binds it: USER, USER:GROUP or :GROUP");
  add_choice<HandoverMode>(
      run, "--handover", options.handover,
      "Bind the socket and hand it down to the plugin: auto tries it, require insists; off: the plugin binds "
      "it",
      {{"auto", HandoverMode::automatic}, {"require", HandoverMode::require}, {"off", HandoverMode::off}});
  run.add_option("--instances", options.instances,
                 "Number of plugins; {n} in --socket, command and environment becomes each one's number")
      ->check(CLI::Range(1U, 1000U))
      ->capture_default_str();
}

void add_plugin_options(CLI::App& run, RunOptions& options) {
  run.add_option("--build-info", options.build_info, "The binary's build-info.json [beside the binary]");
  run.add_option(termination_log_option, options.termination_log,
                 "Existing file for the cause if the supervisor ends on its own or cannot start")
      ->capture_default_str();
  run.add_option("--metrics-addr", options.metrics_addr,
                 "HOST:PORT or :PORT on which to serve GET /metrics for Prometheus [not served]");
  run.add_option("--child-user", options.child_user,
                 "User of the plugin: USER or USER:GROUP [the supervisor's]");
  run.add_option("--child-memory", options.child_memory,
                 "Maximum private memory of a plugin process: bytes, or with KiB, MiB, GiB; 0: no limit")
      ->transform(CLI::AsSizeValue(false).description(""))
      ->type_name("SIZE")
      ->capture_default_str();
  run.add_option("--child-processes", options.child_threads,
                 "Maximum number of processes and threads of the plugin's user; 0: no limit")
      ->capture_default_str();
  add_choice<log::Format>(run, "--child-output", options.child_output,
                          "Format in which the plugin's output is passed on",
                          {{"text", log::Format::text}, {"json", log::Format::json}});
}

void add_probe_options(CLI::App& run, RunOptions& options) {
  Policy& policy = options.policy;
  add_duration(run, "--probe-interval", policy.probe_interval, "Time between Status probes", at_least_one);
  add_duration(run, "--probe-timeout", policy.probe_timeout,
               "Time after which a probe without an answer has failed", at_least_one);
  run.add_option("--failure-threshold", policy.failure_threshold,
                 "Failed probes in a row after which the plugin is replaced")
      ->check(CLI::Range(1U, 1000U))
      ->capture_default_str();
  run.add_option("--deep-probe-every", options.deep_probe_every,
                 "Let each n-th probe also encrypt, decrypt and compare the key_ids; 0: none")
      ->capture_default_str();
  add_duration(run, "--slow-after", options.slow_after,
               "Report an answer that takes longer as slow; 0: none");
  add_duration(run, "--startup-timeout", policy.startup_timeout, "Time from launch to the first answer",
               at_least_one);
}

void add_restart_options(CLI::App& run, RunOptions& options) {
  Policy& policy = options.policy;
  run.add_flag("--standby", policy.standby,
               "Keep a second process ready that takes over when the plugin dies or hangs");
  add_choice<bool>(
      run, "--restart-on", policy.restart_on_unhealthy,
      "When to restart, besides a death: if the plugin is unresponsive, or also if it is unhealthy",
      {{"unresponsive", false}, {"unhealthy", true}});
  add_duration(run, "--hang-grace", policy.hang_grace, "Time from TERM to KILL of an unresponsive plugin");
  add_duration(run, "--stop-grace", policy.stop_grace,
               "Time from the forwarded TERM or INT to KILL at a stop");
  add_duration(run, "--backoff-initial", policy.restart_delay.initial, "Wait before the second restart",
               at_least_one);
  add_duration(run, "--backoff-max", policy.restart_delay.cap, "Maximum wait before a restart", at_least_one);
  add_duration(run, "--stable-after", policy.restart_delay.stable_after,
               "Time of service after which the back-off starts again");
  run.add_flag("--watch-binary", options.watch_binary,
               "Restart without an outage when a new binary and its build-info.json are published");
  run.add_option("--max-restarts", policy.max_restarts,
                 "End the supervisor after more deaths than this within the window; 0: never")
      ->capture_default_str();
  add_duration(run, "--max-restarts-window", policy.max_restarts_window, "Window of --max-restarts",
               at_least_one);
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

/// The user that the plugin runs as. Only root can choose one.
Outcome<std::optional<process::Identity>> identity_of(const std::string& child_user) {
  if (child_user.empty()) return std::nullopt;
  auto identity = process::find_identity(child_user);
  if (!identity) return identity.error().within("--child-user");
  if (::geteuid() != 0)
    return Error("--child-user: only root can start processes of other users", "leave it out");
  return std::optional(*std::move(identity));
}

Outcome<std::optional<TcpAddress>> metrics_address_of(const RunOptions& options) {
  if (options.metrics_addr.empty()) return std::nullopt;
  auto address = TcpAddress::parse(options.metrics_addr);
  if (!address) return address.error().within("--metrics-addr");
  return std::optional(*std::move(address));
}

int run_supervisor(SupervisorConfig config, const Endpoint& control) {
  process::require_room();
  const process::SignalFd signals = Supervisor::block_signals();
  auto listener = ControlServer::claim(control);
  if (!listener) throw listener.error();
  for (const InstanceConfig& plugin : config.plugins) {
    // A killed supervisor's plugin dies with it, but may hold its socket until this supervisor has started.
    await_dying_listener(plugin.socket, dying_listener_timeout);
    if (const auto holder = live_holder(plugin.socket)) {
      throw Error("cannot supervise a plugin on " + plugin.socket.uri() + ": it is in use by " + *holder,
                  "stop that process or choose another --socket");
    }
    const std::string elsewhere =
        other_endpoint(plugin.plugin.command, plugin.plugin.environment, plugin.socket);
    if (!elsewhere.empty())
      log::warning(elsewhere +
                   "; the supervisor never finds it there, unless it takes the socket that is handed down");
  }
  const std::string socket = config.plugins.front().socket.uri();
  Supervisor supervisor(std::move(config), *std::move(listener), signals);
  log::info("supervising", {{"socket", socket}, {"control-socket", control.uri()}, {"pid", ::getpid()}});
  return supervisor.run();
}

}  // namespace

Outcome<SupervisorConfig> supervisor_config(const RunOptions& options) {
  auto metrics = metrics_address_of(options);
  if (!metrics) return metrics.error();
  const auto access = access_of(options);
  if (!access) return access.error();
  const auto identity = identity_of(options.child_user);
  if (!identity) return identity.error();
  if (options.instances > 1 && options.socket.find("{n}") == std::string::npos)
    return Error(
        "--socket: " + std::to_string(options.instances) + " instances cannot share " + options.socket,
        "write {n} in place of the instance's number");
  SupervisorConfig config{{}, options.termination_log, *std::move(metrics)};
  for (unsigned number = 1; number <= options.instances; ++number) {
    const auto socket = Endpoint::parse(numbered(options.socket, number));
    if (!socket) return socket.error().within("--socket");
    process::Launch plugin;
    for (const std::string& word : options.command) plugin.command.push_back(numbered(word, number));
    plugin.identity = *identity;
    if (options.child_memory > 0) plugin.memory = options.child_memory;
    if (options.child_threads > 0) plugin.threads = options.child_threads;
    plugin.environment = plugin_environment(number, *socket, plugin.identity);
    const std::string control = control_of(plugin.command, plugin.environment, *socket);
    config.plugins.push_back({*socket, *access, options.handover, std::move(plugin), control,
                              options.build_info, options.watch_binary, options.child_output,
                              options.deep_probe_every, options.slow_after, options.policy});
  }
  return config;
}

void report_usage_errors(CommandLine& line) {
  line.on_usage_error([&line](const std::string& text) {
    const CLI::App* run = line.app().get_subcommand("run");
    if (!run->parsed()) return;  // another command's error is no end of the supervisor
    // The parser may have failed before it stored the option.
    const CLI::Option* given = run->get_option(termination_log_option);
    const std::string file = given->count() > 0 ? given->results().back() : RunOptions().termination_log;
    write_termination_message(file, text + "\n");
  });
}

Command run_command(CommandLine& line, const std::string& control) {
  const auto options = std::make_shared<RunOptions>();
  CLI::App& app = line.add_subcommand(
      "run", "Launch a plugin, probe its health by RPC and restart it when it fails",
      {"supervisor run -- mock-kms-provider --listen-addr=unix:///var/run/kmsplugin/kms.sock "
       "--state-dir=state",
       "supervisor run --socket unix:///@kms --backoff-max 5s -- ./plugin --addr unix:///@kms",
       "supervisor run --instances 3 --socket unix:///run/kms-{n}.sock -- mock-kms-provider --instance {n}"});
  add_socket_options(app, *options);
  add_plugin_options(app, *options);
  add_probe_options(app, *options);
  add_restart_options(app, *options);
  app.add_option("command", options->command, "The plugin and its arguments, after '--'")->required();
  return {&app,
          [&control, options] {
            const Endpoint endpoint = control_endpoint(control);
            auto config = supervisor_config(*options);
            if (!config) throw config.error().with(ErrorCode::invalid_input);
            try {
              return run_supervisor(*std::move(config), endpoint);
            } catch (const std::exception& error) {
              write_termination_message(options->termination_log,
                                        std::string("supervisor: ") + error.what() + "\n");
              throw;
            }
          },
          true};
}

}  // namespace kms::supervisor
