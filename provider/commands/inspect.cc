// `inspect` shows what a value from etcd holds, and under which key.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>

#include "common/cli/exit_code.h"
#include "common/crypto/sha256.h"
#include "common/io/fd.h"
#include "common/text/escape.h"
#include "common/text/protobuf.h"
#include "provider/commands/client.h"
#include "provider/commands/commands.h"
#include "provider/inspect/input.h"
#include "provider/inspect/value.h"
#include "provider/keys/key_ring.h"
#include "provider/kms/service.h"

namespace kms::provider {
namespace {

using mock_kms::v1::EncryptedObject;
using mock_kms::v1::InspectReport;

/// etcd's limit for a value is 1.5 MiB by default; base64 and hex are longer.
constexpr std::size_t max_input = std::size_t{64} * 1024 * 1024;

struct InspectOptions {
  std::string file;  ///< empty: standard input
  Encoding encoding = Encoding::automatic;
  std::string etcd_key;   ///< empty: the one before the value, if any
  std::string seed_file;  ///< overrides the plugin; without both the published test seed is used
  PluginOptions plugin{.socket = ""};
  std::string expected_key_id;  ///< empty: any
  bool header_only = false;
  bool reveal = false;
  OutputFormat format = OutputFormat::text;

  [[nodiscard]] bool uses_plugin() const { return seed_file.empty() && !plugin.socket.empty(); }
};

Error bad_input(std::string cause) { return {std::move(cause), "", ErrorCode::invalid_input}; }

InspectInput read_value(const InspectOptions& options) {
  const std::string name = options.file.empty() ? "standard input" : options.file;
  UniqueFd file;
  if (!options.file.empty()) {
    file.reset(::open(options.file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) throw bad_input("cannot read " + name + ": " + errno_text(errno));
  }
  const std::string text = read_at_most(file ? file.get() : STDIN_FILENO, max_input, name);
  if (text.size() > max_input) throw bad_input(name + " holds more than 64 MiB");
  auto input = decode_input(text, options.encoding);
  if (!input) throw input.error().within(name).with(ErrorCode::invalid_input);
  return *std::move(input);
}

EtcdValue parse_value(const std::string& stored) {
  auto parsed = parse_etcd_value(bytes_of(stored));
  if (const auto* error = std::get_if<Error>(&parsed)) throw error->with(ErrorCode::invalid_input);
  if (const auto* foreign = std::get_if<NotKmsV2>(&parsed)) throw Error("the value " + foreign->description);
  return std::get<EtcdValue>(std::move(parsed));
}

/// The Error begins with the plugin, and says why it was asked.
Error not_by_plugin(const PluginOptions& plugin, const Error& error) {
  const char* variable = std::getenv("MOCK_KMS_SOCKET");
  const bool by_variable = variable != nullptr && plugin.socket == variable;
  return Error(
      "the plugin at " + plugin.socket + ", which " + (by_variable ? "MOCK_KMS_SOCKET" : "--socket") +
          " names, does not decrypt the DEK source: " + error.cause(),
      by_variable ? "name a seed with --seed-file, or run it with 'env -u MOCK_KMS_SOCKET' to use the "
                    "published test seed"
                  : "name a seed with --seed-file, or leave --socket out to use the published test seed",
      error.code());
}

/// A running plugin decrypts, as it does for the API server.
SecretBytes decrypt_by_plugin(const PluginOptions& plugin, const EncryptedObject& object) {
  v2::DecryptRequest request;
  request.set_ciphertext(object.encrypted_dek_source());
  request.set_key_id(object.key_id());
  request.set_uid("mock-kms-provider-inspect");
  *request.mutable_annotations() = object.annotations();
  try {
    auto answer = PluginClient(plugin).call("Decrypt", request, &PluginClient::Stub::Decrypt);
    const WipeAtEnd wiping(*answer.mutable_plaintext());
    return SecretBytes::copy_of(bytes_of(answer.plaintext()));
  } catch (const Error& error) {
    throw not_by_plugin(plugin, error);
  }
}

/// The instance is part of the key id, and its keys derive from the seed.
Outcome<SecretBytes> decrypt_by_seed(const std::string& seed_file, const EncryptedObject& object) {
  SecretBytes seed = seed_file.empty() ? published_test_seed() : valid_input(read_seed_file(seed_file));
  const auto id = KeyId::parse(object.key_id());
  KeyRing keys(std::move(seed), id ? id->instance : "default", 1);
  auto opened = KmsService(keys).decrypt({bytes_of(object.encrypted_dek_source()),
                                          object.key_id(),
                                          {object.annotations().begin(), object.annotations().end()}});
  if (!opened) return opened.error().within("the DEK source does not open by this seed");
  return opened;
}

InspectReport header_of(const EtcdValue& value, const std::string& etcd_key) {
  InspectReport report;
  report.set_etcd_key(utf8_text(etcd_key));
  report.set_provider_name(utf8_text(value.provider_name));
  report.set_key_id(value.object.key_id());
  *report.mutable_annotations() = value.object.annotations();
  report.set_dek_source_type(value.object.dek_source_type());
  report.set_encrypted_dek_source_bytes(
      static_cast<std::uint32_t>(value.object.encrypted_dek_source().size()));
  report.set_encrypted_data_bytes(static_cast<std::uint32_t>(value.object.encrypted_data().size()));
  return report;
}

Outcome<SecretBytes> decrypt_dek_source(const InspectOptions& options, const EncryptedObject& object,
                                        InspectReport& report) {
  Outcome<SecretBytes> opened = options.uses_plugin() ? decrypt_by_plugin(options.plugin, object)
                                                      : decrypt_by_seed(options.seed_file, object);
  if (!opened) return opened;
  auto& source = *report.mutable_dek_source();
  source.set_bytes(static_cast<std::uint32_t>(opened->size()));
  source.set_decrypted_by(options.uses_plugin()       ? "the plugin at " + options.plugin.socket
                          : options.seed_file.empty() ? "the published test seed"
                                                      : "the seed of " + options.seed_file);
  return opened;
}

/// Decrypts as far as possible and fills `report`. The Error tells why the value is not the expected one.
Outcome<> decrypt(const InspectOptions& options, const EncryptedObject& object, const std::string& etcd_key,
                  InspectReport& report) {
  const std::string& expected = options.expected_key_id;
  if (!expected.empty() && expected != object.key_id()) {
    return Error("key_id is not the expected " + expected);
  }
  if (options.header_only) return {};
  const auto dek_source = decrypt_dek_source(options, object, report);
  if (!dek_source) return dek_source.error();
  if (etcd_key.empty()) return {};
  const auto opened = open_object(*dek_source, object, etcd_key);
  if (!opened) return opened.error();
  auto& shown = *report.mutable_object();
  shown.set_bytes(static_cast<std::uint32_t>(opened->size()));
  shown.set_sha256(sha256_hex(opened->view()));
  if (options.reveal) shown.set_plaintext(std::string(text_of(opened->view())));
  return {};
}

std::string row(std::string name, const std::string& text) {
  name.resize(13, ' ');
  return name + text + "\n";
}

std::string count_of(std::uint32_t bytes) {
  return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes");
}

std::string annotation_rows(const InspectReport& report) {
  std::string rows;
  const std::map<std::string, std::string> sorted(report.annotations().begin(), report.annotations().end());
  for (const auto& [key, value] : sorted) {
    rows +=
        row(rows.empty() ? "annotations" : "", visible_text(key) + " = " + visible_text(utf8_text(value)));
  }
  return rows.empty() ? row("annotations", "none") : rows;
}

std::string object_rows(const InspectReport& report, bool reveal) {
  if (!report.has_object()) {
    return row("object", report.etcd_key().empty() ? "not decrypted: its key in etcd is not known, see --key"
                                                   : "not decrypted");
  }
  const auto& object = report.object();
  std::string rows = row("object", count_of(object.bytes()) + ", sha256 " + object.sha256());
  if (!reveal) return rows;
  std::string shown = visible_text(utf8_text(object.plaintext()));
  const WipeAtEnd wiping(shown);
  return rows + row("plaintext", shown);
}

std::string report_text(const InspectReport& report, bool reveal) {
  std::string text;
  if (!report.etcd_key().empty()) text += row("etcd key", visible_text(report.etcd_key()));
  text += row("provider", visible_text(report.provider_name()));
  text += row("key_id", visible_text(report.key_id()));
  text += annotation_rows(report);
  text += row("stored", "DEK source of " + count_of(report.encrypted_dek_source_bytes()) + " (" +
                            EncryptedObject::DekSourceType_Name(report.dek_source_type()) + "), data of " +
                            count_of(report.encrypted_data_bytes()));
  text +=
      row("DEK source", report.has_dek_source() ? count_of(report.dek_source().bytes()) + ", decrypted by " +
                                                      report.dek_source().decrypted_by()
                                                : "not decrypted");
  return text + object_rows(report, reveal);
}

/// 0 if the value is the expected one and opens; throws Error after the report if not.
int run_inspect(const InspectOptions& options) {
  const InspectInput input = read_value(options);
  const EtcdValue value = parse_value(input.stored);
  const std::string& etcd_key = options.etcd_key.empty() ? input.etcd_key : options.etcd_key;
  if (options.reveal && etcd_key.empty()) {
    throw bad_input(
        "--reveal: name the value's key in etcd with --key, such as --key /registry/secrets/default/db");
  }
  InspectReport report = header_of(value, etcd_key);
  const auto decrypted = decrypt(options, value.object, etcd_key, report);
  std::optional<WipeAtEnd> wiping;
  if (report.object().has_plaintext()) wiping.emplace(*report.mutable_object()->mutable_plaintext());
  std::string text = options.format == OutputFormat::json ? to_json(report, JsonLayout::document)
                                                          : report_text(report, options.reveal);
  const WipeAtEnd wiping_text(text);
  print(text);
  decrypted.value();
  return exit_code::ok;
}

}  // namespace

Command inspect_command(CommandLine& line) {
  const auto options = std::make_shared<InspectOptions>();
  CLI::App& command =
      line.add_subcommand("inspect", "Show what a value from etcd holds, and under which key",
                          {"etcdctl get /registry/secrets/default/db | mock-kms-provider inspect",
                           "mock-kms-provider inspect value.b64 --key /registry/secrets/default/db "
                           "--expect-key-id default/v2/e1d6c1f0"});
  command.add_option("file,--file", options->file, "File with the value [standard input]");
  add_choice<Encoding>(command, "--encoding", options->encoding, "Encoding of the value; auto detects it",
                       {{"auto", Encoding::automatic},
                        {"raw", Encoding::raw},
                        {"hex", Encoding::hex},
                        {"base64", Encoding::base64}});
  command.add_option("--key", options->etcd_key, "The value's key in etcd [the line before a raw value]");
  command.add_option("--seed-file", options->seed_file,
                     "Seed of the provider's keys [--socket, else the published test seed]");
  command.add_option("--socket", options->plugin.socket, "A running plugin that decrypts instead of a seed");
  add_duration(command, "--timeout", options->plugin.timeout, "Time to wait for the plugin",
               std::chrono::milliseconds(1));
  command.add_option("--expect-key-id", options->expected_key_id,
                     "Fail unless it is encrypted under this key_id");
  CLI::Option* header = command.add_flag("--header-only", options->header_only, "Decrypt nothing");
  command.add_flag("--reveal", options->reveal, "Show the object's plaintext")->excludes(header);
  add_format(command, options->format);
  return {&command, [options] { return run_inspect(*options); }};
}

}  // namespace kms::provider
