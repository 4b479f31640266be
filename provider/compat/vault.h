// VaultCompat reads the options of HashiCorp's vault-kube-kms (`serve --compat vault-kube-kms`), so that
// whatever starts that plugin can start this one. It never contacts a Vault.
//
// Used by main's thread before any other exists. Source of the options and their defaults: HashiCorp's "Vault
// Kubernetes Key Management parameters"; for the beta line a public laboratory that starts it, and zap's
// options in controller-runtime; the arguments that OpenShift's library-go passes. Read in November 2026.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/cli/command_line.h"

namespace kms::provider {

class VaultCompat {
 public:
  /// The options of `serve` that follow from Vault's.
  struct Settings {
    std::string listen_addr;   ///< empty: not given
    std::string instance;      ///< named after the transit key
    std::string metrics_addr;  ///< empty: no metrics
    bool metrics_asked_for;    ///< false: the default port, which may be in use
    std::string health_addr;   ///< empty: no health over HTTP
  };

  static constexpr auto plugin_name = "vault-kube-kms";
  static constexpr auto default_listen_addr = "unix:///tmp/vault-kube-kms.socket";

  /// Adds the plugin's options with their own environment variables, and its log levels.
  void add_options(CommandLine& line, CLI::App& serve);

  /// Empty if the plugin is not `chosen` by --compat; then its options are refused. Refuses what
  /// vault-kube-kms would not start with.
  [[nodiscard]] Outcome<std::optional<Settings>> settings(bool chosen) const;

 private:
  [[nodiscard]] Outcome<> check() const;
  [[nodiscard]] Outcome<> configure_log() const;
  [[nodiscard]] std::string instance() const;
  void log_unused() const;

  const CLI::App* program_ = nullptr;  ///< whose --log-level and --log-format zap's options override
  std::vector<const CLI::Option*> unused_options_;
  std::vector<const CLI::Option*> options_;
  // Empty: not given.
  std::string listen_address_;
  std::string vault_address_;
  std::string vault_namespace_;
  std::string vault_key_path_;  ///< mount and key in one: "transit/keys/kms-key"
  std::string transit_mount_;
  std::string transit_key_;
  std::string auth_method_;
  std::string role_id_;
  std::string secret_id_path_;
  std::string tls_ca_file_;
  std::string metrics_port_;
  std::string health_port_;
  std::string zap_log_level_;
  std::string zap_encoder_;
  std::string unused_;
  bool unused_flag_ = false;
};

}  // namespace kms::provider
