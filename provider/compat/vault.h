// `serve --compat vault-kube-kms`: the options of HashiCorp's plugin, so that what starts that one starts
// this one. No Vault is asked.
//
// Functions, called by main before any thread starts. Source of the options and their defaults: HashiCorp's
// "Vault Kubernetes Key Management parameters", and what OpenShift's library-go and its tests pass, read in
// November 2026.
#pragma once

#include <optional>
#include <string>

#include "provider/serve_setup.h"

namespace kms::provider {

/// As they stand on the command line, unchecked; empty is not given.
struct VaultOptions {
  std::string compat;  ///< "vault-kube-kms", or empty: none of the others may be given
  std::string listen_address;
  std::string vault_address;
  std::string vault_namespace;
  std::string vault_auth_namespace;
  std::string vault_key_path;  ///< mount and key in one: "transit/keys/kms-key"
  std::string vault_connection_timeout;
  std::string transit_mount;
  std::string transit_key;
  std::string auth_method;
  std::string auth_mount;
  std::string approle_role_id;
  std::string approle_secret_id_path;
  std::string tls_ca_file;
  std::string tls_sni;
  bool tls_skip_verify = false;
  std::string metrics_port;
  bool disable_runtime_metrics = false;
};

/// Fills `options` in from what Vault's plugin would be told: socket, metrics and an instance named after the
/// transit key. A Error says what that plugin would not start with either.
[[nodiscard]] Outcome<> apply(const VaultOptions& vault, ServeOptions& options);

}  // namespace kms::provider
