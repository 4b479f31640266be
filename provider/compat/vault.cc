#include "provider/compat/vault.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "common/crypto/secret_bytes.h"
#include "common/io/fd.h"
#include "common/log/log.h"

namespace kms::provider {
namespace {

constexpr auto compat_name = "vault-kube-kms";
constexpr auto unused_help = "Accepted and not used";

std::string variable_of(const std::string& option) {
  std::string variable = "VAULT_KUBE_KMS_" + option.substr(2);
  for (char& c : variable) {
    c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return variable;
}

/// Refuses a file, the value of `option`, that cannot be read or holds nothing. Wipes what it read.
Outcome<> check_file(const std::string& option, const std::string& path) {
  const auto refused = [&](const std::string& cause, const std::string& next_step) {
    return Error(option + " " + path + ": " + cause, next_step);
  };
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return refused("cannot open it: " + errno_text(errno), "mount the file at this path");
  struct stat found {};
  if (::fstat(fd.get(), &found) != 0 || S_ISDIR(found.st_mode)) {
    return refused("it is a directory", "name the file in it");
  }
  SecretBytes content(4096);
  const ssize_t size = ::read(fd.get(), content.data(), content.size());
  if (size < 0) return refused("cannot read it: " + errno_text(errno), "");
  const Bytes read = content.view().first(static_cast<std::size_t>(size));
  if (std::all_of(read.begin(), read.end(), [](std::uint8_t c) { return std::isspace(c) != 0; })) {
    return refused("it is empty", "write the secret into it before the plugin starts");
  }
  return {};
}

}  // namespace

void VaultCompat::add_options(CommandLine& line, CLI::App& serve) {
  for (const char* word : {"trace", "debug-extended"}) line.accept_log_level(word, "debug");
  line.accept_log_level("warn", "warning");
  line.accept_log_level_variable("VAULT_KUBE_KMS_LOG_LEVEL");
  serve.add_option("--compat", compat_, "Plugin to replace: vault-kube-kms; its options follow");
  const auto own = [this](const std::string& name, CLI::Option* option) {
    option->envname(variable_of(name))->group("With --compat vault-kube-kms");
    options_.push_back(option);
  };
  const auto add = [&](const std::string& name, std::string& value, const std::string& help) {
    own(name, serve.add_option(name, value, help));
  };
  add("--listen-address", listen_address_, std::string("Socket [") + default_listen_addr + "]");
  add("--vault-address", vault_address_, "Must be a URL; no Vault is contacted");
  add("--vault-namespace", vault_namespace_, "Part of the instance's name");
  add("--vault-auth-namespace", unused_, unused_help);
  add("--vault-key-path", vault_key_path_, "Mount and key in one, part of the instance's name");
  add("--vault-connection-timeout", unused_, unused_help);
  add("--transit-mount", transit_mount_, "Part of the instance's name unless it is transit");
  add("--transit-key", transit_key_, "Name of the instance [kms-key]");
  add("--auth-method", auth_method_, "Must be approle");
  add("--auth-mount", unused_, unused_help);
  add("--approle-role-id", role_id_, "Required");
  add("--approle-secret-id-path", secret_id_path_, "File that must not be empty");
  add("--tls-ca-file", tls_ca_file_, "File that must not be empty");
  add("--tls-sni", unused_, unused_help);
  own("--tls-skip-verify", serve.add_flag("--tls-skip-verify", unused_flag_, unused_help));
  add("--metrics-port", metrics_port_, "Port for --metrics-addr on all addresses; 0: none [none]");
  own("--disable-runtime-metrics", serve.add_flag("--disable-runtime-metrics", unused_flag_, unused_help));
}

Outcome<std::optional<VaultCompat::Settings>> VaultCompat::settings() const {
  if (compat_.empty()) {
    const auto given = std::find_if(options_.begin(), options_.end(),
                                    [](const auto* option) { return option->count() > 0; });
    if (given == options_.end()) return std::optional<Settings>();
    return Error((*given)->get_name() + " is an option of vault-kube-kms", "add --compat vault-kube-kms");
  }
  if (compat_ != compat_name) {
    return Error("--compat: '" + compat_ + "' is not known", std::string("the only one is ") + compat_name);
  }
  if (const auto checked = check(); !checked) return checked.error();
  const bool no_metrics = metrics_port_.empty() || metrics_port_ == "0";
  Settings settings{listen_address_, instance(), no_metrics ? "" : ":" + metrics_port_};
  log::info("stands in for vault-kube-kms; no Vault is contacted", {{"instance", settings.instance}});
  return std::optional(std::move(settings));
}

Outcome<> VaultCompat::check() const {
  const bool is_url = vault_address_.starts_with("http://") || vault_address_.starts_with("https://");
  if (vault_address_.empty()) return Error("--vault-address is missing", "vault-kube-kms needs it");
  if (!is_url || vault_address_.ends_with("//")) {
    return Error("--vault-address is not a URL", "write it as https://HOST:8200");
  }
  if (!auth_method_.empty() && auth_method_ != "approle") {
    return Error("--auth-method: there is no '" + auth_method_ + "'", "vault-kube-kms knows approle only");
  }
  if (role_id_.empty()) return Error("--approle-role-id is missing", "vault-kube-kms needs it");
  if (secret_id_path_.empty()) return Error("--approle-secret-id-path is missing", "vault-kube-kms needs it");
  if (auto file = check_file("--approle-secret-id-path", secret_id_path_); !file) return file;
  if (!tls_ca_file_.empty()) return check_file("--tls-ca-file", tls_ca_file_);
  return {};
}

/// Distinguishes keys of different mounts and namespaces, since instances share no keys.
std::string VaultCompat::instance() const {
  std::string key = vault_key_path_;
  if (key.empty()) {
    key = transit_key_.empty() ? "kms-key" : transit_key_;
    if (!transit_mount_.empty() && transit_mount_ != "transit") key = transit_mount_ + "/" + key;
  }
  if (!vault_namespace_.empty()) key = vault_namespace_ + "/" + key;
  std::string name;
  for (const char c : key) {
    const bool allowed = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
    if (allowed) name += c;
    if (!allowed && !name.empty() && name.back() != '.') name += c == '/' ? '.' : '-';
  }
  while (name.ends_with('.')) name.pop_back();
  return name;
}

}  // namespace kms::provider
