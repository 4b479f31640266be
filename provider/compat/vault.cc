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

constexpr auto unused_help = "Accepted and not used";
constexpr auto variable_prefix = "VAULT_KUBE_KMS_";
constexpr auto default_metrics_port = "8080";
constexpr std::string_view keys_part = "/keys/";

std::string variable_of(const std::string& option) {
  std::string variable = variable_prefix + option.substr(2);
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
  line.add_prefix(variable_prefix);
  line.accept_log_level_variable(variable_of("--log-level"));
  const auto own = [this](const std::string& name, CLI::Option* option) {
    option->envname(variable_of(name))->group("With --compat vault-kube-kms");
    options_.push_back(option);
  };
  program_ = &line.app();
  const auto add = [&](const std::string& name, std::string& value, const std::string& help) {
    own(name, serve.add_option(name, value, help));
  };
  const auto add_unused = [&](const std::string& name) {
    add(name, unused_, unused_help);
    unused_options_.push_back(options_.back());
  };
  const auto add_unused_flag = [&](const std::string& name) {
    own(name, serve.add_flag(name, unused_flag_, unused_help));
    unused_options_.push_back(options_.back());
  };
  add("--listen-address", listen_address_, std::string("Socket [") + default_listen_addr + "]");
  add("--vault-address", vault_address_, "Must be a URL; no Vault is contacted");
  add("--vault-namespace", vault_namespace_, "Part of the instance's name");
  add_unused("--vault-auth-namespace");
  add("--vault-key-path", vault_key_path_, "MOUNT/keys/KEY, in place of --transit-mount and --transit-key");
  add_unused("--vault-connection-timeout");
  add("--transit-mount", transit_mount_, "Part of the instance's name unless it is transit");
  add("--transit-key", transit_key_, "Name of the instance [kms-key]");
  add("--auth-method", auth_method_, "Must be approle");
  add_unused("--auth-mount");
  add("--approle-role-id", role_id_, "Required");
  add("--approle-secret-id-path", secret_id_path_, "File that must not be empty at the start");
  add("--tls-ca-file", tls_ca_file_, "File that must not be empty");
  add_unused("--tls-sni");
  add_unused_flag("--tls-skip-verify");
  add("--metrics-port", metrics_port_,
      "Port of /metrics on all addresses; 0: none [8080, unless it is in use]");
  add_unused_flag("--disable-runtime-metrics");
  add("--health-port", health_port_, "Port of /healthz and /readyz on all addresses; 0: none [none]");
  add("--zap-log-level", zap_log_level_, "debug, info, error, panic or a number above 0 (debug)");
  add("--zap-encoder", zap_encoder_, "json or console");
  add_unused("--zap-stacktrace-level");
  add_unused("--zap-time-encoding");
  add_unused_flag("--zap-devel");
}

Outcome<std::optional<VaultCompat::Settings>> VaultCompat::settings(bool chosen) const {
  if (!chosen) {
    const auto given = std::find_if(options_.begin(), options_.end(),
                                    [](const auto* option) { return option->count() > 0; });
    if (given == options_.end()) return std::optional<Settings>();
    return Error((*given)->get_name() + " is an option of vault-kube-kms", "add --compat vault-kube-kms");
  }
  if (const auto checked = check(); !checked) return checked.error();
  if (const auto configured = configure_log(); !configured) return configured.error();
  const auto address = [](const std::string& port) { return port.empty() || port == "0" ? "" : ":" + port; };
  const std::string metrics_port = metrics_port_.empty() ? default_metrics_port : metrics_port_;
  Settings settings{listen_address_, instance(), address(metrics_port), !metrics_port_.empty(),
                    address(health_port_)};
  log::info("stands in for vault-kube-kms; no Vault is contacted", {{"instance", settings.instance}});
  log_unused();
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
  if (const auto keys = vault_key_path_.rfind(keys_part);
      !vault_key_path_.empty() &&
      (keys == std::string::npos || keys == 0 || keys + keys_part.size() == vault_key_path_.size())) {
    return Error("--vault-key-path is not MOUNT/keys/KEY", "write it as transit/keys/my-key");
  }
  if (role_id_.empty()) return Error("--approle-role-id is missing", "vault-kube-kms needs it");
  if (secret_id_path_.empty()) return Error("--approle-secret-id-path is missing", "vault-kube-kms needs it");
  if (auto file = check_file("--approle-secret-id-path", secret_id_path_); !file) return file;
  if (!tls_ca_file_.empty()) return check_file("--tls-ca-file", tls_ca_file_);
  return {};
}

/// zap's options override --log-level and --log-format.
Outcome<> VaultCompat::configure_log() const {
  if (zap_log_level_.empty() && zap_encoder_.empty()) return {};
  const auto value_of = [this](const char* name, const char* otherwise) {
    const CLI::Option* option = program_->get_option(name);
    return option->count() > 0 ? option->as<std::string>() : std::string(otherwise);
  };
  const std::string level = zap_log_level_.empty() ? value_of("--log-level", "info") : zap_log_level_;
  const bool is_number =
      std::all_of(level.begin(), level.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  auto min = log::Level::info;
  if (level == "debug" || level == "trace" || level == "debug-extended" || (is_number && level != "0")) {
    min = log::Level::debug;
  } else if (level == "error" || level == "panic") {
    min = log::Level::error;
  } else if (level == "warning" || level == "warn") {
    min = log::Level::warning;
  } else if (level != "info") {
    return Error("--zap-log-level: there is no '" + level + "'", "use debug, info, error, panic or a number");
  }
  if (!zap_encoder_.empty() && zap_encoder_ != "json" && zap_encoder_ != "console") {
    return Error("--zap-encoder: there is no '" + zap_encoder_ + "'", "use json or console");
  }
  const std::string format = zap_encoder_.empty() ? value_of("--log-format", "text") : zap_encoder_;
  log::configure("mock-kms-provider", min, format == "json" ? log::Format::json : log::Format::text);
  return {};
}

void VaultCompat::log_unused() const {
  std::string names;
  for (const CLI::Option* option : unused_options_) {
    if (option->count() > 0) names += (names.empty() ? "" : " ") + option->get_name();
  }
  if (!names.empty()) log::info("these options have no effect here", {{"options", names}});
}

/// Distinguishes keys of different mounts and namespaces, since instances share no keys. The same key by
/// --vault-key-path and by --transit-mount and --transit-key is the same instance.
std::string VaultCompat::instance() const {
  const auto keys = vault_key_path_.rfind(keys_part);
  const std::string mount = vault_key_path_.empty() ? transit_mount_ : vault_key_path_.substr(0, keys);
  std::string key = vault_key_path_.empty() ? transit_key_ : vault_key_path_.substr(keys + keys_part.size());
  if (key.empty()) key = "kms-key";
  if (!mount.empty() && mount != "transit") key = mount + "/" + key;
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
