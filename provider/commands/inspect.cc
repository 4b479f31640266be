// `inspect` shows what a value from etcd holds, and under which key.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>

#include "common/cli/exit_code.h"
#include "common/crypto/sha256.h"
#include "common/io/fd.h"
#include "common/text/counted.h"
#include "common/text/escape.h"
#include "common/text/protobuf.h"
#include "provider/commands/client.h"
#include "provider/commands/commands.h"
#include "provider/compat/kubernetes_mock.h"
#include "provider/etcd/client.h"
#include "provider/inspect/input.h"
#include "provider/inspect/survey.h"
#include "provider/inspect/value.h"
#include "provider/keys/key_ring.h"
#include "provider/kms/aes_service.h"

namespace kms::provider {
namespace {

using mock_kms::v1::EncryptedObject;
using mock_kms::v1::InspectReport;

/// etcd's limit for a value is 1.5 MiB by default; base64 and hex are longer.
constexpr std::size_t max_input = std::size_t{64} * 1024 * 1024;

struct InspectOptions {
  std::string file;  ///< empty: standard input
  Encoding encoding = Encoding::automatic;
  std::string etcd_key;  ///< empty: the one before the value, if any
  std::string etcd;      ///< HOST:PORT of an etcd to read from; empty: none
  std::string prefix;    ///< of etcd's keys, for a table of all values; empty: one value
  TlsFiles tls;
  std::string seed_file;  ///< overrides the plugin; without both the published test seed is used
  std::string instance;   ///< empty: the one in the key id
  std::string key_id_format = KeyIdFormat::default_text;
  PluginOptions plugin{.socket = ""};
  std::string expected_key_id;  ///< empty: any
  bool header_only = false;
  bool reveal = false;
  OutputFormat format = OutputFormat::text;

  [[nodiscard]] bool uses_plugin() const { return seed_file.empty() && !plugin.socket.empty(); }
};

std::string read_input(int fd, const std::string& name) try {
  return read_at_most(fd, max_input, name);
} catch (const Error& error) {
  throw error.with(ErrorCode::invalid_input);
}

InspectInput read_value(const InspectOptions& options) {
  const std::string name = options.file.empty() ? "standard input" : options.file;
  UniqueFd file;
  if (!options.file.empty()) {
    file.reset(::open(options.file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) throw bad_input("cannot read " + name + ": " + errno_text(errno), "check the path");
  }
  const std::string text = read_input(file ? file.get() : STDIN_FILENO, name);
  if (text.size() > max_input) throw bad_input(name + " holds more than 64 MiB", "give the value of one key");
  auto input = decode_input(text, options.encoding);
  if (!input) throw input.error().within(name).with(ErrorCode::invalid_input);
  return *std::move(input);
}

EtcdValue parse_value(const std::string& stored) {
  auto parsed = parse_etcd_value(bytes_of(stored));
  if (const auto* error = std::get_if<Error>(&parsed)) throw error->with(ErrorCode::invalid_input);
  if (const auto* foreign = std::get_if<NotKms>(&parsed)) throw Error("the value " + foreign->description);
  return std::get<EtcdValue>(std::move(parsed));
}

/// The Error begins with the plugin and names the option or variable that chose it.
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
SecretBytes decrypt_by_plugin(const PluginOptions& plugin, const EtcdValue& value) {
  const EncryptedObject& object = value.object;
  if (value.is_v1) {
    v1beta1::DecryptRequest request;
    request.set_version("v1beta1");
    request.set_cipher(object.encrypted_dek_source());
    auto answer = PluginClient(plugin).call("V1Decrypt", request, &PluginClient::V1Stub::Decrypt);
    const WipeAtEnd wiping(*answer.mutable_plain());
    return SecretBytes::copy_of(bytes_of(answer.plain()));
  }
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

/// True if the mock of Kubernetes' integration tests made the DEK source: base64 of a DEK or a seed.
bool is_kubernetes_mock(const EtcdValue& value) {
  if (!value.is_v1) return value.object.annotations().count(std::string(KubernetesMock::annotation)) > 0;
  const auto decoded = decode_kubernetes_mock(bytes_of(value.object.encrypted_dek_source()));
  return key_id_of(value).empty() && decoded && decoded->size() == aes_gcm::key_size;
}

/// The keys derive from the seed and the instance, which the key id names.
Outcome<SecretBytes> decrypt_by_seed(const InspectOptions& options, const EtcdValue& value) {
  const EncryptedObject& object = value.object;
  const Bytes dek_source = bytes_of(object.encrypted_dek_source());
  SecretBytes seed =
      options.seed_file.empty() ? published_test_seed() : valid_input(read_seed_file(options.seed_file));
  const auto format = KeyIdFormat::parse(options.key_id_format);
  if (!format) throw format.error().within("--key-id-format").with(ErrorCode::invalid_input);
  const auto id = format->read(key_id_of(value));
  std::string instance = !options.instance.empty() ? options.instance : id ? id->instance : "";
  if (instance.empty()) instance = "default";
  KeyRing keys(std::move(seed), std::move(instance), 1, *format);
  const AesService service(keys);
  auto opened =
      value.is_v1
          ? service.v1_decrypt(dek_source)
          : service.decrypt(
                {dek_source, object.key_id(), {object.annotations().begin(), object.annotations().end()}});
  if (opened) return opened;
  return opened.error().within("this seed does not decrypt the DEK source").with(ErrorCode::failed);
}

InspectReport header_of(const EtcdValue& value, const std::string& etcd_key) {
  InspectReport report;
  report.set_etcd_key(utf8_text(etcd_key));
  report.set_provider(utf8_text(value.provider_name));
  report.set_key_id(utf8_text(key_id_of(value)));
  report.set_api(value.is_v1 ? "KMS v1" : "KMS v2");
  *report.mutable_annotations() = value.object.annotations();
  report.set_dek_source_type(value.object.dek_source_type());
  report.set_encrypted_dek_source_bytes(
      static_cast<std::uint32_t>(value.object.encrypted_dek_source().size()));
  report.set_encrypted_data_bytes(static_cast<std::uint32_t>(value.object.encrypted_data().size()));
  return report;
}

Outcome<SecretBytes> decrypt_dek_source(const InspectOptions& options, const EtcdValue& value,
                                        InspectReport& report) {
  const bool is_mock = !options.uses_plugin() && options.seed_file.empty() && is_kubernetes_mock(value);
  Outcome<SecretBytes> opened = options.uses_plugin() ? decrypt_by_plugin(options.plugin, value)
                                : is_mock
                                    ? decode_kubernetes_mock(bytes_of(value.object.encrypted_dek_source()))
                                    : decrypt_by_seed(options, value);
  if (!opened) return opened;
  auto& source = *report.mutable_dek_source();
  source.set_bytes(static_cast<std::uint32_t>(opened->size()));
  source.set_decrypted_by(options.uses_plugin()       ? "the plugin at " + options.plugin.socket
                          : is_mock                   ? "base64, as of the mock of Kubernetes' tests"
                          : options.seed_file.empty() ? "the published test seed"
                                                      : "the seed of " + options.seed_file);
  return opened;
}

/// Decrypts as far as possible and fills `report`. The Error tells why the value is not the expected one.
Outcome<> decrypt(const InspectOptions& options, const EtcdValue& value, const std::string& etcd_key,
                  InspectReport& report) {
  const std::string& expected = options.expected_key_id;
  if (!expected.empty() && expected != report.key_id()) {
    return Error("key_id is not the expected " + expected);
  }
  if (options.header_only) return {};
  const auto dek_source = decrypt_dek_source(options, value, report);
  if (!dek_source) return dek_source.error();
  if (etcd_key.empty()) return {};
  const auto opened = open_object(*dek_source, value.object, etcd_key);
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
    const bool needs_key = report.has_dek_source() && report.etcd_key().empty();
    return row("object",
               needs_key ? "not decrypted: its key in etcd is not known, see --key" : "not decrypted");
  }
  const auto& object = report.object();
  std::string rows = row("object", counted(object.bytes(), "byte") + ", sha256 " + object.sha256());
  if (!reveal) return rows;
  std::string shown = visible_text(utf8_text(object.plaintext()));
  const WipeAtEnd wiping(shown);
  return rows + row("plaintext", shown);
}

std::string report_text(const InspectReport& report, bool reveal) {
  std::string text;
  if (!report.etcd_key().empty()) text += row("etcd key", visible_text(report.etcd_key()));
  text += row("provider",
              visible_text(report.provider()) + (report.api() == "KMS v2" ? "" : ", " + report.api()));
  text += row("key_id", report.key_id().empty() ? "none" : visible_text(report.key_id()));
  text += annotation_rows(report);
  text += row("stored", "DEK source of " + counted(report.encrypted_dek_source_bytes(), "byte") + " (" +
                            EncryptedObject::DekSourceType_Name(report.dek_source_type()) + "), data of " +
                            counted(report.encrypted_data_bytes(), "byte"));
  text +=
      row("DEK source", report.has_dek_source() ? counted(report.dek_source().bytes(), "byte") +
                                                      ", decrypted by " + report.dek_source().decrypted_by()
                                                : "not decrypted");
  return text + object_rows(report, reveal);
}

EtcdClient etcd_client(const InspectOptions& options) {
  if (options.etcd.find("://") != std::string::npos)
    throw bad_input("--etcd takes HOST:PORT and no URL",
                    "write it as 127.0.0.1:2379, and add --etcd-cacert for TLS");
  const auto address = TcpAddress::parse(options.etcd);
  if (!address) throw bad_input(address.error().cause(), "write it as 127.0.0.1:2379").within("--etcd");
  if (options.tls.cert_file.empty() != options.tls.key_file.empty()) {
    throw bad_input("--etcd-cert and --etcd-key go together", "give both or neither");
  }
  EtcdClient::Options client{*address, std::nullopt, options.plugin.timeout};
  if (client.address.host.empty()) client.address.host = "localhost";
  if (!options.tls.ca_file.empty() || !options.tls.cert_file.empty()) client.tls = options.tls;
  return EtcdClient(std::move(client));
}

/// Shows on a terminal how far the survey is, ten times a second.
class Progress {
 public:
  void show(std::uint64_t done, std::uint64_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (!on_terminal_ || now < next_) return;
    next_ = now + std::chrono::milliseconds(100);
    const auto tenths = static_cast<int>(total == 0 ? 0 : std::min<std::uint64_t>(done * 40 / total, 40));
    std::fprintf(stderr, "\r[%-40s] %llu of %llu objects",
                 std::string(static_cast<std::size_t>(tenths), '#').c_str(),
                 static_cast<unsigned long long>(done), static_cast<unsigned long long>(total));
    shown_ = true;
  }
  ~Progress() {
    if (shown_) std::fprintf(stderr, "\r\x1b[K");
  }

 private:
  const bool on_terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  std::chrono::steady_clock::time_point next_;
};

/// 0 if every value under the prefix is encrypted by a KMS, and under the expected key id.
int run_survey(const InspectOptions& options) {
  if (options.etcd.empty())
    throw bad_input("--prefix reads an etcd, and none is given", "name it with --etcd HOST:PORT");
  EtcdClient client = etcd_client(options);
  Survey survey;
  {
    Progress progress;
    client.scan(options.prefix, [&](const etcdserverpb::KeyValue& pair, std::uint64_t total) {
      survey.add(bytes_of(pair.value()));
      progress.show(survey.total(), total);
    });
  }
  if (survey.total() == 0) {
    throw bad_input(
        "etcd has no key that begins with " + options.prefix,
        "Kubernetes' keys begin with /registry/, OpenShift's with /kubernetes.io/ and /openshift.io/");
  }
  const auto report = survey.report();
  print(options.format == OutputFormat::json ? to_json(report, JsonLayout::document) : survey_text(report));
  const std::uint64_t others = survey.total() - survey.as_expected(options.expected_key_id);
  if (others == 0) return exit_code::ok;
  throw Error(std::to_string(others) + " of " + std::to_string(survey.total()) +
              " objects are not encrypted by " +
              (options.expected_key_id.empty() ? "a KMS" : "a KMS under " + options.expected_key_id));
}

InspectInput read_from_etcd(const InspectOptions& options) {
  if (options.etcd_key.empty())
    throw bad_input("--etcd: no key is given", "name a key with --key, or keys with --prefix");
  auto stored = etcd_client(options).get(options.etcd_key);
  if (stored) return {*std::move(stored), options.etcd_key};
  throw bad_input("etcd has no such key: " + options.etcd_key,
                  "list the keys: etcdctl get --prefix --keys-only /");
}

/// 0 if the value is the expected one and opens; throws Error after the report if not.
int run_inspect(const InspectOptions& options) {
  if (!options.prefix.empty()) return run_survey(options);
  const InspectInput input = options.etcd.empty() ? read_value(options) : read_from_etcd(options);
  const EtcdValue value = parse_value(input.stored);
  const std::string& etcd_key = options.etcd_key.empty() ? input.etcd_key : options.etcd_key;
  if (options.reveal && etcd_key.empty()) {
    throw bad_input("--reveal needs the value's key in etcd",
                    "name it with --key, such as --key /registry/secrets/default/db");
  }
  InspectReport report = header_of(value, etcd_key);
  const auto decrypted = decrypt(options, value, etcd_key, report);
  if (!decrypted) report.set_problem(utf8_text(decrypted.error().line()));
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
                           "mock-kms-provider inspect --etcd 127.0.0.1:2379 --prefix /registry/secrets/ "
                           "--etcd-cacert ca.crt --etcd-cert client.crt --etcd-key client.key",
                           "mock-kms-provider inspect value.b64 --key /registry/secrets/default/db "
                           "--expect-key-id default/v2/e1d6c1f0"});
  CLI::Option* file =
      command.add_option("file,--file", options->file, "File with the value [standard input]");
  command.add_option("--etcd", options->etcd, "HOST:PORT of an etcd to read the value from")->excludes(file);
  CLI::Option* prefix = command.add_option(
      "--prefix", options->prefix,
      "Count all values of --etcd whose keys begin with this, by KMS, provider and key_id");
  command.add_option("--etcd-cacert", options->tls.ca_file,
                     "Certificate of etcd's authority; TLS from then on");
  command.add_option("--etcd-cert", options->tls.cert_file, "Client certificate for etcd");
  command.add_option("--etcd-key", options->tls.key_file, "Key of --etcd-cert");
  add_choice<Encoding>(command, "--encoding", options->encoding, "Encoding of the value; auto detects it",
                       {{"auto", Encoding::automatic},
                        {"raw", Encoding::raw},
                        {"hex", Encoding::hex},
                        {"base64", Encoding::base64}});
  command.add_option("--key", options->etcd_key, "The value's key in etcd [the line before a raw value]")
      ->excludes(prefix);
  command.add_option("--seed-file", options->seed_file,
                     "Seed of the provider's keys [--socket, else the published test seed]");
  command.add_option("--instance", options->instance,
                     "Instance of the seed's keys [the one in the key_id, else default]");
  command.add_option("--key-id-format", options->key_id_format, "The provider's --key-id-format")
      ->capture_default_str();
  command.add_option("--socket", options->plugin.socket, "A running plugin that decrypts instead of a seed");
  add_duration(command, "--timeout", options->plugin.timeout,
               "Time to wait for the plugin, and for each answer of etcd", std::chrono::milliseconds(1));
  command.add_option("--expect-key-id", options->expected_key_id,
                     "Fail unless it is encrypted under this key_id");
  CLI::Option* header = command.add_flag("--header-only", options->header_only, "Decrypt nothing");
  command.add_flag("--reveal", options->reveal, "Show the object's plaintext")->excludes(header);
  add_format(command, options->format);
  return {&command, [options] { return run_inspect(*options); }};
}

}  // namespace kms::provider
