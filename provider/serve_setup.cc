#include "provider/serve_setup.h"

#include "provider/config/config.h"
#include "provider/faults/presets.h"
#include "provider/keys/seed.h"

namespace kms::provider {
namespace {

using mock_kms::v1::Fault;
using mock_kms::v1::ProviderConfig;

Outcome<std::vector<Fault>> read_faults(const std::vector<std::string>& texts) {
  std::vector<Fault> faults;
  for (const std::string& text : texts) {
    const auto read = read_fault(text);
    auto complete = !read ? read : complete_fault(*read);
    if (!complete) return Error("--fault: " + complete.error().cause(), complete.error().next_step());
    faults.push_back(*std::move(complete));
  }
  return faults;
}

Outcome<ProviderConfig> config_of(const ServeOptions& options) {
  std::string digest;
  return options.config.empty() ? ProviderConfig() : read_config(options.config, digest);
}

}  // namespace

Outcome<ServeSetup> check(const ServeOptions& options) {
  const auto endpoint = Endpoint::parse(options.listen_addr);
  if (!endpoint) {
    return Error("--listen-addr: " + endpoint.error().cause(), endpoint.error().next_step());
  }
  const auto mode = parse_socket_mode(options.socket_mode);
  if (!mode) return mode.error().within("--socket-mode");
  SocketAccess access{*mode, {}, {}};
  if (!options.socket_owner.empty()) {
    if (const auto owner = parse_socket_owner(options.socket_owner, access); !owner) {
      return owner.error().within("--socket-owner");
    }
  }
  if (const auto instance = refuse_instance(options.instance); !instance) {
    return instance.error().within("--instance");
  }
  if (options.key_version == 0) return Error("--key-version: versions count from 1");
  Outcome<SecretBytes> seed =
      options.seed_file.empty() ? published_test_seed() : read_seed_file(options.seed_file);
  if (!seed) return seed.error();
  auto faults = read_faults(options.faults);
  if (!faults) return faults.error();
  auto config = config_of(options);
  if (!config) {
    return Error("--config " + options.config + ": " + config.error().cause(), config.error().next_step());
  }
  std::optional<MetricsAddress> metrics;
  if (!options.metrics_addr.empty()) {
    auto parsed = MetricsAddress::parse(options.metrics_addr);
    if (!parsed) return Error("--metrics-addr: " + parsed.error().cause(), parsed.error().next_step());
    metrics = *std::move(parsed);
  }
  return ServeSetup{
      *endpoint,         access, *std::move(seed), options, *std::move(faults), *std::move(config),
      std::move(metrics)};
}

}  // namespace kms::provider
