#include "provider/vault_compat.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "common/io/fd.h"
#include "common/log/log.h"

namespace kms::provider {
namespace {

constexpr auto compat_name = "vault-kube-kms";

/// Why `path` (the value of `option`) does not hold what is needed, or nothing. Its content is looked at for
/// being there and wiped.
Outcome<> refuse_file(const std::string& option, const std::string& path) {
  const auto refused = [&](const std::string& why, const std::string& hint) {
    return Error(option + " " + path + ": " + why, hint);
  };
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return refused("cannot open it: " + errno_text(errno), "mount the file where the option says");
  struct stat found {};
  if (::fstat(fd.get(), &found) != 0 || S_ISDIR(found.st_mode))
    return refused("it is a directory", "name the file in it");
  SecretBytes content(4096);
  const ssize_t size = ::read(fd.get(), content.data(), content.size());
  if (size < 0) return refused("cannot read it: " + errno_text(errno), "");
  const Bytes read = content.view().first(static_cast<std::size_t>(size));
  if (std::all_of(read.begin(), read.end(), [](std::uint8_t c) { return std::isspace(c) != 0; })) {
    return refused("it is empty", "write the secret into it before the plugin starts");
  }
  return {};
}

/// The first option that was given though --compat was not; empty where none was.
std::string first_given(const VaultOptions& vault) {
  const std::array<std::pair<const char*, bool>, 16> given{{
      {"--listen-address", !vault.listen_address.empty()},
      {"--vault-address", !vault.vault_address.empty()},
      {"--vault-namespace", !vault.vault_namespace.empty()},
      {"--vault-auth-namespace", !vault.vault_auth_namespace.empty()},
      {"--vault-key-path", !vault.vault_key_path.empty()},
      {"--vault-connection-timeout", !vault.vault_connection_timeout.empty()},
      {"--transit-mount", !vault.transit_mount.empty()},
      {"--transit-key", !vault.transit_key.empty()},
      {"--auth-method", !vault.auth_method.empty()},
      {"--auth-mount", !vault.auth_mount.empty()},
      {"--approle-role-id", !vault.approle_role_id.empty()},
      {"--approle-secret-id-path", !vault.approle_secret_id_path.empty()},
      {"--tls-ca-file", !vault.tls_ca_file.empty()},
      {"--tls-sni", !vault.tls_sni.empty()},
      {"--metrics-port", !vault.metrics_port.empty()},
      {"--tls-skip-verify or --disable-runtime-metrics",
       vault.tls_skip_verify || vault.disable_runtime_metrics},
  }};
  const auto found = std::find_if(given.begin(), given.end(), [](const auto& one) { return one.second; });
  return found == given.end() ? "" : found->first;
}

/// A name for what the transit key is: instances share no keys, and neither do keys of two mounts or
/// namespaces.
std::string instance_of(const VaultOptions& vault) {
  std::string key = vault.vault_key_path;
  if (key.empty()) {
    const bool usual = vault.transit_mount.empty() || vault.transit_mount == "transit";
    key = (usual ? "" : vault.transit_mount + "/") +
          (vault.transit_key.empty() ? "kms-key" : vault.transit_key);
  }
  if (!vault.vault_namespace.empty()) key = vault.vault_namespace + "/" + key;
  std::string name;
  for (const char c : key) {
    const bool fits = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
    if (fits) name += c;
    if (!fits && !name.empty() && name.back() != '.') name += c == '/' ? '.' : '-';
  }
  while (name.ends_with('.')) name.pop_back();
  return name;
}

Outcome<> refuse(const VaultOptions& vault) {
  const bool is_url =
      vault.vault_address.starts_with("http://") || vault.vault_address.starts_with("https://");
  if (vault.vault_address.empty()) return Error("--vault-address is missing", "vault-kube-kms needs it");
  if (!is_url || vault.vault_address.ends_with("//")) {
    return Error("--vault-address is not a URL", "write it as https://HOST:8200");
  }
  if (!vault.auth_method.empty() && vault.auth_method != "approle") {
    return Error("--auth-method: there is no '" + vault.auth_method + "'",
                 "vault-kube-kms knows approle only");
  }
  if (vault.approle_role_id.empty()) return Error("--approle-role-id is missing", "vault-kube-kms needs it");
  if (vault.approle_secret_id_path.empty()) {
    return Error("--approle-secret-id-path is missing", "vault-kube-kms needs it");
  }
  if (auto file = refuse_file("--approle-secret-id-path", vault.approle_secret_id_path); !file) return file;
  if (!vault.tls_ca_file.empty()) return refuse_file("--tls-ca-file", vault.tls_ca_file);
  return {};
}

}  // namespace

Outcome<> apply(const VaultOptions& vault, ServeOptions& options) {
  if (vault.compat.empty()) {
    const std::string given = first_given(vault);
    if (given.empty()) return {};
    return Error(given + " is an option of vault-kube-kms", "add --compat vault-kube-kms");
  }
  if (vault.compat != compat_name) {
    return Error("--compat: '" + vault.compat + "' is not known",
                 std::string("the one that is: ") + compat_name);
  }
  if (auto checked = refuse(vault); !checked) return checked;
  if (!vault.listen_address.empty()) {
    options.listen_addr = vault.listen_address;
  } else if (options.listen_addr == ServeOptions().listen_addr) {
    options.listen_addr = "unix:///tmp/vault-kube-kms.socket";
  }
  if (options.instance == ServeOptions().instance) options.instance = instance_of(vault);
  if (!vault.metrics_port.empty() && vault.metrics_port != "0")
    options.metrics_addr = ":" + vault.metrics_port;
  log::info("stands in for vault-kube-kms; no Vault is asked", {{"instance", options.instance}});
  return {};
}

}  // namespace kms::provider
