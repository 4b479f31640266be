#include "provider/serve_setup.h"

#include "provider/config/config.h"
#include "provider/faults/fault_presets.h"
#include "provider/keys/seed.h"

namespace kms::provider {
namespace {

using mock_kms::v1::Fault;
using mock_kms::v1::ProviderConfig;

Outcome<std::vector<Fault>> read_faults(const std::vector<std::string>& texts) {
  std::vector<Fault> faults;
  for (const std::string& text : texts) {
    const auto read = read_fault(text);
    auto complete = failure_of(read) != nullptr ? read : complete_fault(std::get<Fault>(read));
    if (const Failure* failure = failure_of(complete))
      return Failure{"--fault: " + failure->cause, failure->hint};
    faults.push_back(std::move(std::get<Fault>(complete)));
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
  if (const Failure* failure = failure_of(endpoint)) {
    return Failure{"--listen-addr: " + failure->cause, failure->hint};
  }
  const auto mode = parse_socket_mode(options.socket_mode);
  if (const Failure* failure = failure_of(mode))
    return Failure{"--socket-mode: " + failure->cause, failure->hint};
  SocketAccess access{std::get<mode_t>(mode), {}, {}};
  if (!options.socket_owner.empty()) {
    if (const auto failure = parse_socket_owner(options.socket_owner, access)) {
      return Failure{"--socket-owner: " + failure->cause, failure->hint};
    }
  }
  if (const auto failure = refuse_instance(options.instance)) {
    return Failure{"--instance: " + failure->cause, failure->hint};
  }
  if (options.key_version == 0) return Failure{"--key-version: versions count from 1", ""};
  Outcome<SecretBytes> seed =
      options.seed_file.empty() ? published_test_seed() : read_seed_file(options.seed_file);
  if (const Failure* failure = failure_of(seed)) return *failure;
  auto faults = read_faults(options.faults);
  if (const Failure* failure = failure_of(faults)) return *failure;
  auto config = config_of(options);
  if (const Failure* failure = failure_of(config)) {
    return Failure{"--config " + options.config + ": " + failure->cause, failure->hint};
  }
  std::optional<MetricsAddress> metrics;
  if (!options.metrics_addr.empty()) {
    auto parsed = MetricsAddress::parse(options.metrics_addr);
    if (const Failure* failure = failure_of(parsed))
      return Failure{"--metrics-addr: " + failure->cause, failure->hint};
    metrics = std::move(std::get<MetricsAddress>(parsed));
  }
  return ServeSetup{std::get<Endpoint>(endpoint),
                    access,
                    std::move(std::get<SecretBytes>(seed)),
                    options,
                    std::move(std::get<std::vector<Fault>>(faults)),
                    std::move(std::get<ProviderConfig>(config)),
                    std::move(metrics)};
}

}  // namespace kms::provider
