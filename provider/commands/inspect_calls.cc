#include "provider/commands/inspect_calls.h"

#include <fcntl.h>

#include <cstdio>
#include <optional>

#include "common/cli/exit_code.h"
#include "common/crypto/sha256.h"
#include "common/io/fd.h"
#include "common/text/escape.h"
#include "common/text/protobuf.h"
#include "provider/commands/plugin_call.h"
#include "provider/inspect/object.h"
#include "provider/inspect/text.h"
#include "provider/inspect/value.h"
#include "provider/keys/seed.h"
#include "provider/server/kms_service.h"

namespace kms::provider {
namespace {

using mock_kms::v1::InspectReport;

/// etcd refuses values above 1.5 MiB unless told otherwise; base64 and hex make more of them.
constexpr std::size_t max_input = std::size_t{64} * 1024 * 1024;

InspectInput read_input(const InspectOptions& options) {
  const std::string name = options.file.empty() ? "standard input" : options.file;
  UniqueFd file;
  if (!options.file.empty()) {
    file.reset(::open(options.file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) throw Unanswered{exit_code::usage, "cannot read " + name + ": " + errno_text(errno)};
  }
  const std::string text = read_at_most(file ? file.get() : STDIN_FILENO, max_input, name);
  if (text.size() > max_input) throw Unanswered{exit_code::usage, name + " holds more than 64 MiB"};
  auto input = decode_input(text, options.encoding);
  if (!input) {
    throw Unanswered{exit_code::usage, name + ": " + input.error().line()};
  }
  return *std::move(input);
}

EtcdValue parse(const std::string& stored) {
  auto parsed = parse_etcd_value(bytes_of(stored));
  if (const auto* failure = std::get_if<Error>(&parsed)) throw Unanswered{exit_code::usage, failure->line()};
  if (const auto* foreign = std::get_if<NotKmsV2>(&parsed)) {
    throw Unanswered{exit_code::failed, "the value " + foreign->what};
  }
  return std::get<EtcdValue>(std::move(parsed));
}

/// Asks a running plugin, as the API server would.
SecretBytes dek_source_by_plugin(const InspectOptions& options, const EtcdValue& value) {
  v2::DecryptRequest request;
  request.set_ciphertext(value.object.encrypted_dek_source());
  request.set_key_id(value.object.key_id());
  request.set_uid("mock-kms-provider-inspect");
  *request.mutable_annotations() = value.object.annotations();
  auto answer = call_plugin(options.socket, options.timeout, "Decrypt", request,
                            &v2::KeyManagementService::Stub::Decrypt);
  const WipeAtEnd wiping(*answer.mutable_plaintext());
  return SecretBytes::copy_of(bytes_of(answer.plaintext()));
}

/// Derives the key from the seed. The instance is the one that the key id names: its keys are what is asked.
Outcome<SecretBytes> dek_source_by_seed(const InspectOptions& options, const EtcdValue& value) {
  Outcome<SecretBytes> seed =
      options.seed_file.empty() ? published_test_seed() : read_seed_file(options.seed_file);
  if (!seed) throw Unanswered{exit_code::usage, seed.error().line()};
  const auto id = KeyId::parse(value.object.key_id());
  KeyRing keys(*std::move(seed), id ? id->instance : "default", 1);
  DecryptQuestion question{bytes_of(value.object.encrypted_dek_source()), value.object.key_id(), {}};
  question.annotations.insert(value.object.annotations().begin(), value.object.annotations().end());
  auto answer = KmsService(keys).decrypt(question);
  if (const auto* refusal = std::get_if<Refusal>(&answer)) {
    return Error("the DEK source does not open by this seed: " + refusal->message);
  }
  return std::get<SecretBytes>(std::move(answer));
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

Outcome<SecretBytes> open_dek_source(const InspectOptions& options, const EtcdValue& value,
                                     InspectReport& report) {
  const bool by_plugin = options.seed_file.empty() && !options.socket.empty();
  Outcome<SecretBytes> opened =
      by_plugin ? dek_source_by_plugin(options, value) : dek_source_by_seed(options, value);
  if (!opened) return opened;
  auto& source = *report.mutable_dek_source();
  source.set_bytes(static_cast<std::uint32_t>(opened->size()));
  source.set_decrypted_by(by_plugin                   ? "the plugin at " + options.socket
                          : options.seed_file.empty() ? "the published test seed"
                                                      : "the seed of " + options.seed_file);
  return opened;
}

void describe(const SecretBytes& plaintext, bool reveal, InspectReport& report) {
  auto& object = *report.mutable_object();
  object.set_bytes(static_cast<std::uint32_t>(plaintext.size()));
  object.set_sha256(sha256_hex(plaintext.view()));
  if (reveal) object.set_plaintext(std::string(text_of(plaintext.view())));
}

/// Decrypts as far as it goes, and notes it in `report`. Why the value is not what was asked for, or nothing.
Outcome<> prove(const InspectOptions& options, const EtcdValue& value, const std::string& etcd_key,
                InspectReport& report) {
  const std::string& expected = options.expected_key_id;
  if (!expected.empty() && expected != value.object.key_id()) {
    return Error("key_id is not the expected " + expected);
  }
  if (options.header_only) return {};
  const auto dek_source = open_dek_source(options, value, report);
  if (!dek_source) return dek_source.error();
  if (etcd_key.empty()) return {};
  const auto opened = open_object(*dek_source, value.object, etcd_key);
  if (!opened) return opened.error();
  describe(*opened, options.reveal, report);
  return {};
}

void print(const InspectReport& report, const InspectOptions& options) {
  std::string text =
      options.output == "json" ? to_json(report, JsonLayout::document) : inspect_text(report, options.reveal);
  const WipeAtEnd wiping(text);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw_errno("write to standard output");
  }
}

}  // namespace

int call_inspect(const InspectOptions& options) {
  const InspectInput input = read_input(options);
  const EtcdValue value = parse(input.stored);
  const std::string& etcd_key = options.etcd_key.empty() ? input.etcd_key : options.etcd_key;
  if (options.reveal && etcd_key.empty()) {
    throw Unanswered{
        exit_code::usage,
        "--reveal: name the value's key in etcd with --key, such as --key /registry/secrets/default/db"};
  }
  InspectReport report = header_of(value, etcd_key);
  const auto proven = prove(options, value, etcd_key, report);
  std::optional<WipeAtEnd> wiping;
  if (report.has_object()) wiping.emplace(*report.mutable_object()->mutable_plaintext());
  print(report, options);
  if (proven) return exit_code::ok;
  std::fprintf(stderr, "mock-kms-provider: %s\n", proven.error().line().c_str());
  return exit_code::failed;
}

}  // namespace kms::provider
