// `status`, `encrypt` and `decrypt`: one call each to a running KMS v2 plugin, any plugin.
#include <unistd.h>

#include <cstdio>

#include "common/cli/exit_code.h"
#include "common/crypto/secret_bytes.h"
#include "common/io/fd.h"
#include "common/text/escape.h"
#include "common/text/protobuf.h"
#include "common/text/user_json.h"
#include "provider/commands/client.h"
#include "provider/commands/commands.h"

namespace kms::provider {
namespace {

struct CallOptions : PluginOptions {
  std::string uid = "mock-kms-provider-cli";
  OutputFormat format = OutputFormat::text;
};

/// The limit of gRPC servers for a message, unless they set another one.
constexpr std::size_t max_message = std::size_t{4} * 1024 * 1024;
/// Less than a message: the ciphertext, the key id and the annotations must fit into one as well.
constexpr std::size_t max_plaintext = max_message - std::size_t{64} * 1024;

std::string read_input(std::size_t max) {
  std::string text = read_at_most(STDIN_FILENO, max, "standard input");
  if (text.size() <= max) return text;
  throw bad_input(
      "standard input is larger than " + std::to_string(max) + " bytes",
      "KMS v2 plugins encrypt keys of some 32 bytes, and gRPC servers accept messages up to 4 MiB");
}

int run_status(const CallOptions& options) {
  const auto status = PluginClient(options).call("Status", v2::StatusRequest(), &PluginClient::Stub::Status);
  if (options.format == OutputFormat::json) {
    std::printf("%s\n", to_json(status, JsonLayout::line).c_str());
  } else {
    std::printf("version  %s\nhealthz  %s\nkey_id   %s\n", visible_text(status.version()).c_str(),
                visible_text(status.healthz()).c_str(), visible_text(status.key_id()).c_str());
  }
  return exit_code::ok;
}

int run_encrypt(const CallOptions& options) {
  v2::EncryptRequest request;
  const WipeAtEnd wiping(*request.mutable_plaintext());
  request.set_plaintext(read_input(max_plaintext));
  request.set_uid(options.uid);
  const auto sealed = PluginClient(options).call("Encrypt", request, &PluginClient::Stub::Encrypt);
  print(to_json(sealed, JsonLayout::line) + "\n");
  return exit_code::ok;
}

int run_decrypt(const CallOptions& options) {
  v2::EncryptResponse sealed;
  if (const auto read = from_user_json(read_input(2 * max_message), sealed); !read) {
    throw read.error().within("standard input is not the JSON that `encrypt` prints");
  }
  v2::DecryptRequest request;
  request.set_ciphertext(sealed.ciphertext());
  request.set_key_id(sealed.key_id());
  request.set_uid(options.uid);
  *request.mutable_annotations() = sealed.annotations();
  auto answer = PluginClient(options).call("Decrypt", request, &PluginClient::Stub::Decrypt);
  const WipeAtEnd wiping(*answer.mutable_plaintext());
  print(answer.plaintext());
  return exit_code::ok;
}

const std::string example_socket = "--socket unix:///tmp/kms.socket";

Command crypt_command(CommandLine& line, const std::string& name, const std::string& help,
                      int (*run)(const CallOptions&), const std::string& input, const std::string& example) {
  const auto options = std::make_shared<CallOptions>();
  CLI::App& command = line.add_subcommand(name, help, {example});
  add_plugin_options(command, *options);
  line.explain_argument(command, "it reads " + input + " from standard input");
  command.add_option("--uid", options->uid, "Name of the request in the plugin's log")->capture_default_str();
  return {&command, [options, run] { return run(*options); }};
}

}  // namespace

Command status_command(CommandLine& line) {
  const auto options = std::make_shared<CallOptions>();
  CLI::App& command = line.add_subcommand("status", "Show the version, health and key id of a running plugin",
                                          {"mock-kms-provider status " + example_socket + " -o json"});
  add_plugin_options(command, *options);
  add_format(command, options->format);
  return {&command, [options] { return run_status(*options); }};
}

Command encrypt_command(CommandLine& line) {
  return crypt_command(line, "encrypt", "Encrypt standard input with a running plugin; print JSON",
                       run_encrypt, "the plaintext",
                       "echo secret | mock-kms-provider encrypt " + example_socket + " > sealed.json");
}

Command decrypt_command(CommandLine& line) {
  return crypt_command(line, "decrypt", "Decrypt the JSON that encrypt printed, from standard input",
                       run_decrypt, "the JSON",
                       "mock-kms-provider decrypt " + example_socket + " < sealed.json");
}

}  // namespace kms::provider
