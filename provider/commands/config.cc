// `config` shows the state of the provider's --config file, or checks a file without a provider.
#include "provider/config/config.h"

#include <cstdio>

#include "common/cli/exit_code.h"
#include "common/text/counted.h"
#include "common/text/protobuf.h"
#include "provider/commands/client.h"
#include "provider/commands/commands.h"

namespace kms::provider {
namespace {

using mock_kms::v1::ConfigStatus;

struct ConfigOptions : ProviderOptions {
  std::string checked_file;  ///< empty: ask the provider
  OutputFormat format = OutputFormat::text;
};

void print_config(const ConfigStatus& status) {
  if (status.file().empty()) {
    std::printf("the provider has no file; start it with --config FILE\n");
    return;
  }
  std::printf("file     %s\n", status.file().c_str());
  if (status.has_since()) {
    std::printf("since    %s\nsha256   %s\n", rfc3339(from_proto(status.since())).c_str(),
                status.sha256().c_str());
  }
  if (!status.remark().empty()) std::printf("remark   %s\n", status.remark().c_str());
  if (!status.error().empty()) {
    std::printf("error    %s\n         not in effect since %s\n", status.error().c_str(),
                rfc3339(from_proto(status.error_since())).c_str());
  }
}

/// Fails if the file as it is now is not in effect.
int run_config(const ConfigOptions& options) {
  const auto status =
      ControlClient(options).call(mock_kms::v1::ReadConfigRequest(), &ControlClient::Stub::ReadConfig);
  if (options.format == OutputFormat::json) {
    print(to_json(status, JsonLayout::document));
  } else {
    print_config(status);
  }
  return status.error().empty() ? exit_code::ok : exit_code::failed;
}

/// "key version 2, 1 fault, no scenario".
std::string content_of(const mock_kms::v1::ProviderConfig& config) {
  return (config.key_version() == 0 ? "" : "key version " + std::to_string(config.key_version()) + ", ") +
         counted(config.faults_size(), "fault") + ", " +
         (config.has_scenario() ? "a scenario of " + counted(config.scenario().steps_size(), "step")
                                : "no scenario");
}

/// Reads the file by the function that `serve --config` calls, so that both accept the same.
int check_config(const ConfigOptions& options) {
  std::string digest;
  const auto config = read_config(options.checked_file, digest);
  if (!config) {
    const Error error = config.error().within("--check " + options.checked_file);
    const auto text = read_text_file(options.checked_file);
    const bool is_scenario = text && parse_scenario(*text);
    throw(is_scenario ? Error(error.cause(), "this is the file of a scenario: use 'scenario check'") : error)
        .with(ErrorCode::invalid_input);
  }
  if (options.format == OutputFormat::json) {
    print(to_short_json(*config, JsonLayout::document));
  } else {
    std::printf("good: %s\n", content_of(*config).c_str());
  }
  return exit_code::ok;
}

}  // namespace

Command config_command(CommandLine& line) {
  const auto options = std::make_shared<ConfigOptions>();
  CLI::App& command =
      line.add_subcommand("config", "Show whether the file of serve --config is in effect, or check a file",
                          {"mock-kms-provider config", "mock-kms-provider config --check provider.json"});
  add_provider_options(command, *options);
  line.explain_argument(command, "name the file with --check");
  command.add_option("--check", options->checked_file,
                     "File to read as serve --config would, without a provider");
  add_format(command, options->format);
  return {&command, [options] {
            return options->checked_file.empty() ? run_config(*options) : check_config(*options);
          }};
}

}  // namespace kms::provider
