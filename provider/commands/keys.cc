// `rotate` makes another version of the key current; `keys` lists the versions.
#include <cstdio>
#include <limits>

#include "common/cli/exit_code.h"
#include "common/text/protobuf.h"
#include "provider/commands/client.h"
#include "provider/commands/commands.h"
#include "provider/keys/key_ring.h"

namespace kms::provider {
namespace {

struct KeyOptions : ProviderOptions {
  KeyVersion to = 0;  ///< 0: the next one
  bool force = false;
  OutputFormat format = OutputFormat::text;
};

int run_rotate(const KeyOptions& options) {
  mock_kms::v1::RotateRequest request;
  request.set_to(options.to);
  request.set_force(options.force);
  const auto reply = ControlClient(options).call(request, &ControlClient::Stub::Rotate);
  if (options.format == OutputFormat::json) {
    std::printf("%s\n", to_json(reply, JsonLayout::line).c_str());
  } else if (reply.from() == reply.to()) {
    std::printf("v%u is already current  %s\n", reply.to(), reply.key_id().c_str());
  } else {
    std::printf("v%u -> v%u  %s\n", reply.from(), reply.to(), reply.key_id().c_str());
  }
  print("");
  if (!reply.stored()) {
    std::fprintf(
        stderr,
        "mock-kms-provider: v%u is lost when the provider restarts; start it with --state-dir to keep it\n",
        reply.to());
  }
  return exit_code::ok;
}

int run_keys(const KeyOptions& options) {
  const auto list =
      ControlClient(options).call(mock_kms::v1::ListKeysRequest(), &ControlClient::Stub::ListKeys);
  if (options.format == OutputFormat::json) {
    print(to_json(list, JsonLayout::document));
    return exit_code::ok;
  }
  std::printf("%-10s %-24s %s\n", "VERSION", "SINCE", "KEY_ID");
  for (const auto& key : list.keys()) {
    const std::string since = rfc3339(from_proto(key.since()));
    const std::string version = "v" + std::to_string(key.version()) + (key.current() ? " *" : "");
    std::printf("%-10s %-24s %s\n", version.c_str(), since.c_str(), key.key_id().c_str());
  }
  return exit_code::ok;
}

}  // namespace

Command rotate_command(CommandLine& line) {
  const auto options = std::make_shared<KeyOptions>();
  CLI::App& command =
      line.add_subcommand("rotate", "Rotate the key: make another version of it the current one",
                          {"mock-kms-provider rotate", "mock-kms-provider rotate --to 7"});
  add_provider_options(command, *options);
  command.add_option("--to", options->to, "Version to make current [the next one]")
      ->check(CLI::Range(KeyVersion{1}, std::numeric_limits<KeyVersion>::max()));
  line.explain_argument(command, "name the version with --to");
  command.add_flag("--force", options->force, "Allow a version that is not above all earlier ones");
  add_format(command, options->format);
  return {&command, [options] { return run_rotate(*options); }};
}

Command keys_command(CommandLine& line) {
  const auto options = std::make_shared<KeyOptions>();
  CLI::App& command =
      line.add_subcommand("keys", "List the versions of the key that were current, newest first",
                          {"mock-kms-provider keys -o json"});
  add_provider_options(command, *options);
  add_format(command, options->format);
  return {&command, [options] { return run_keys(*options); }};
}

}  // namespace kms::provider
