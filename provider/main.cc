// mock-kms-provider: a KMS v2 plugin for tests, and a small client for it.
#include <cctype>
#include <chrono>
#include <type_traits>

#include "common/cli/command_line.h"
#include "common/cli/exit_code.h"
#include "common/crypto/openssl.h"
#include "common/log/log.h"
#include "provider/commands/commands.h"
#include "provider/serve.h"
#include "provider/vault_compat.h"

namespace {

using namespace kms::provider;

CLI::App& add_serve(kms::CommandLine& line, ServeOptions& options) {
  CLI::App& serve = *line.app().add_subcommand("serve", "Serve KMS v2 on a Unix socket (the default)");
  serve.add_option("--listen-addr", options.listen_addr, "Socket: unix:///path or unix:///@abstract-name")
      ->capture_default_str();
  kms::add_duration(serve, "--timeout", options.timeout,
                    "Time that a new connection has to begin speaking HTTP/2", std::chrono::milliseconds(1));
  serve.add_option("--seed-file", options.seed_file,
                   "Seed of all keys: 32 bytes or 64 hex digits; without it a published test seed");
  serve.add_option("--instance", options.instance, "Name in key ids; instances share no keys")
      ->capture_default_str();
  serve.add_option("--key-version", options.key_version, "Version of the key to encrypt under, from 1")
      ->capture_default_str();
  serve.add_option("--socket-mode", options.socket_mode, "Octal mode of the socket")->capture_default_str();
  serve.add_option("--socket-owner", options.socket_owner, "Owner of the socket: USER, USER:GROUP or :GROUP");
  kms::add_duration(serve, "--drain-grace", options.drain_grace,
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
                   "File that declares key version, faults and a scenario; it is followed as it changes");
  serve.add_option("--metrics-addr", options.metrics_addr,
                   "HOST:PORT or :PORT where GET /metrics is answered for Prometheus [nowhere]");
  serve.add_option("--config-file-path", options.config_file_path,
                   "The upstream mock's SoftHSM configuration; taken and not needed");
  serve.add_option("--random-seed", options.random_seed, "Seed of chance in faults")->capture_default_str();
  kms::CommandLine::examples(
      serve,
      {"mock-kms-provider --listen-addr unix:///run/kms/kms.sock",
       "mock-kms-provider --listen-addr unix:///@kms --instance blue --key-version 2",
       "head -c 32 /dev/urandom > seed && mock-kms-provider --seed-file seed --socket-owner kube:kube"});
  return serve;
}

/// The options of HashiCorp's plugin, with its environment variables.
void add_vault(CLI::App& serve, VaultOptions& vault) {
  serve.add_option("--compat", vault.compat, "Plugin to stand in for: vault-kube-kms; its options follow");
  const auto add = [&](const std::string& name, auto& value, const std::string& help) {
    CLI::Option* option = nullptr;
    if constexpr (std::is_same_v<std::remove_reference_t<decltype(value)>, bool>) {
      option = serve.add_flag(name, value, help);
    } else {
      option = serve.add_option(name, value, help);
    }
    std::string variable = "VAULT_KUBE_KMS_" + name.substr(2);
    for (char& c : variable)
      c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    option->envname(variable)->group("With --compat vault-kube-kms");
  };
  const std::string unused = "Taken and not used";
  add("--listen-address", vault.listen_address, "Socket [unix:///tmp/vault-kube-kms.socket]");
  add("--vault-address", vault.vault_address, "Must be a URL; no Vault is asked");
  add("--vault-namespace", vault.vault_namespace, "Part of the instance's name");
  add("--vault-auth-namespace", vault.vault_auth_namespace, unused);
  add("--vault-key-path", vault.vault_key_path, "Mount and key in one, part of the instance's name");
  add("--vault-connection-timeout", vault.vault_connection_timeout, unused);
  add("--transit-mount", vault.transit_mount, "Part of the instance's name unless it is transit");
  add("--transit-key", vault.transit_key, "Name of the instance [kms-key]");
  add("--auth-method", vault.auth_method, "Must be approle");
  add("--auth-mount", vault.auth_mount, unused);
  add("--approle-role-id", vault.approle_role_id, "Must be there");
  add("--approle-secret-id-path", vault.approle_secret_id_path, "File that must hold something");
  add("--tls-ca-file", vault.tls_ca_file, "File that must hold something");
  add("--tls-sni", vault.tls_sni, unused);
  add("--tls-skip-verify", vault.tls_skip_verify, unused);
  add("--metrics-port", vault.metrics_port, "Port for --metrics-addr on all addresses; 0: none [none]");
  add("--disable-runtime-metrics", vault.disable_runtime_metrics, unused);
}

int serve_command(const kms::CommandLine& line, ServeOptions options, const VaultOptions& vault,
                  std::chrono::steady_clock::time_point begun) {
  if (const auto applied = apply(vault, options); !applied) return line.usage_error(applied.error().line());
  auto setup = check(options);
  if (!setup) return line.usage_error(setup.error().line());
  return serve(*std::move(setup), begun);
}

}  // namespace

int main(int argc, char** argv) {
  const auto begun = std::chrono::steady_clock::now();
  kms::CommandLine line("mock-kms-provider", "KMS v2 plugin for testing Kubernetes' encryption at rest",
                        "MOCK_KMS_");
  ServeOptions serving;
  VaultOptions vault;
  CLI::App& serve = add_serve(line, serving);
  add_vault(serve, vault);
  for (const char* debug : {"trace", "debug-extended"})
    line.accept_log_level(debug, "debug");  // Vault's words
  line.accept_log_level("warn", "warning");
  line.accept_log_level_variable("VAULT_KUBE_KMS_LOG_LEVEL");
  for (const auto& command : {status_command, encrypt_command, decrypt_command, rotate_command, keys_command,
                              fault_command, journal_command, metrics_command, expect_command,
                              scenario_command, config_command, inspect_command}) {
    line.add(command(line));
  }
  line.add({&serve, [&] { return serve_command(line, serving, vault, begun); }});
  line.default_command("serve");
  try {
    kms::openssl::set_up();
    forbid_core_dumps();  // before a seed or a plaintext is in memory
  } catch (const kms::Error& error) {
    kms::log::error(error.what());
    return kms::exit_code::failed;
  }
  return line.run(argc, argv);
}
