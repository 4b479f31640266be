#include "provider/inspect/value.h"

#include <optional>

#include "common/text/escape.h"
#include "provider/keys/sealing.h"
#include "provider/kms/aes_service.h"

namespace kms::provider {
namespace {

using mock_kms::v1::EncryptedObject;

constexpr std::string_view encrypted = "k8s:enc:";
constexpr std::string_view kms_v2 = "k8s:enc:kms:v2:";
constexpr std::string_view kms_v1 = "k8s:enc:kms:v1:";
constexpr std::string_view stored_protobuf{"k8s\0", 4};  // runtime/serializer/protobuf of k8s.io/apimachinery
constexpr std::string_view replacement_character = "\xEF\xBF\xBD";
constexpr std::size_t max_key_id = 1024;
constexpr std::size_t max_dek_source = 1024;
constexpr std::size_t max_quoted = 32;
constexpr std::size_t info_size = 32;
constexpr std::size_t min_seed_size = 32;

std::string quoted(std::string_view text) {
  return "'" + visible_text(utf8_text(text.substr(0, max_quoted))) + (text.size() > max_quoted ? "…'" : "'");
}

/// The kind of a stored value that no KMS encrypted; empty if the API server does not store such bytes.
std::optional<NotKms> describe_foreign(std::string_view stored) {
  if (stored.starts_with(encrypted)) {
    const auto scheme = stored.substr(encrypted.size());
    return NotKms{"is encrypted by " + quoted(scheme.substr(0, scheme.find(':'))) + ", not by a KMS"};
  }
  if (stored.starts_with(stored_protobuf)) {
    return NotKms{"is not encrypted: it is a Kubernetes object as protobuf"};
  }
  if (stored.starts_with('{')) return NotKms{"is not encrypted: it begins as JSON"};
  return std::nullopt;
}

/// True for "k8s:enc:kms:v" and for "k8s:enc:aes".
bool ends_within_prefix(std::string_view text) {
  if (!text.starts_with(encrypted)) return false;
  return text.find(':', encrypted.size()) == text.npos || kms_v1.starts_with(text) ||
         kms_v2.starts_with(text);
}

Error damaged(const std::string& why) {
  return {"the value is damaged: " + why, "store it whole: etcdctl get KEY --print-value-only > FILE"};
}

Outcome<> check(const EncryptedObject& object) {
  if (!EncryptedObject::DekSourceType_IsValid(object.dek_source_type())) {
    return damaged("it has a DEK source of type " + std::to_string(object.dek_source_type()) +
                   ", and 0 and 1 are known");
  }
  if (object.encrypted_data().empty()) return damaged("it has no encrypted data");
  if (object.encrypted_dek_source().empty()) return damaged("it has no encrypted DEK source");
  if (object.encrypted_dek_source().size() > max_dek_source) {
    return damaged("its encrypted DEK source is larger than 1024 bytes");
  }
  if (object.key_id().empty()) return damaged("it has no key_id");
  if (object.key_id().size() > max_key_id) return damaged("its key_id is longer than 1024 bytes");
  return {};
}

bool parse_message(std::string_view message, EncryptedObject& object) {
  return object.ParseFromArray(message.data(), static_cast<int>(message.size()));
}

/// A message of KMS v2, behind the provider's name.
Outcome<> parse_v2(std::string_view message, EncryptedObject& object) {
  if (message.starts_with("\r\n")) {  // no message begins so: 0x0D is no field of it
    return Error("the value came through a terminal, which changed its line feeds",
                 "run the command without a terminal: kubectl exec -i, not -it");
  }
  bool parsed = parse_message(message, object);
  for (const char line_end : {'\n', '\r'}) {  // added by etcdctl, or by the shell of another system
    if (parsed || !message.ends_with(line_end)) continue;
    message.remove_suffix(1);
    parsed = parse_message(message, object);
  }
  if (!parsed) {
    if (message.find(replacement_character) != std::string_view::npos) {
      return damaged("it was copied as text, which replaced bytes by U+FFFD");
    }
    return damaged("the " + std::to_string(message.size()) +
                   " bytes after the provider's name are not an EncryptedObject");
  }
  return check(object);
}

/// The bytes of KMS v1, behind the provider's name. A line end after them cannot be told from data.
Outcome<> parse_v1(std::string_view bytes, EncryptedObject& object) {
  constexpr std::size_t size_bytes = 2;
  if (bytes.size() < size_bytes) return damaged("it ends within the size of its DEK");
  const auto byte = [&](std::size_t at) {
    return static_cast<std::size_t>(static_cast<unsigned char>(bytes[at]));
  };
  const std::size_t dek_size = byte(0) << 8U | byte(1);
  if (dek_size == 0) return damaged("it has no encrypted DEK");
  if (bytes.size() <= size_bytes + dek_size) return damaged("it ends within its encrypted DEK");
  object.set_encrypted_dek_source(std::string(bytes.substr(size_bytes, dek_size)));
  object.set_encrypted_data(std::string(bytes.substr(size_bytes + dek_size)));
  object.set_dek_source_type(EncryptedObject::AES_GCM_KEY);
  return {};
}

Error too_short(Bytes data) {
  return Error("the encrypted data is too short: " + std::to_string(data.size()) + " bytes");
}

Outcome<SecretBytes> open_with_key(const SecretBytes& key, Bytes data, std::string_view etcd_key) {
  if (key.size() != aes_gcm::key_size) {
    return Error("the DEK has " + std::to_string(key.size()) + " bytes, and the API server's have 32");
  }
  if (data.size() < aes_gcm::nonce_size + aes_gcm::tag_size) return too_short(data);
  auto opened = aes_gcm::decrypt(key.view(), data.first(aes_gcm::nonce_size), bytes_of(etcd_key),
                                 data.subspan(aes_gcm::nonce_size));
  if (opened) return *std::move(opened);
  return Error("the object does not open as the one at " + std::string(etcd_key),
               "its etcd key is another one, or it was changed");
}

}  // namespace

bool begins_as_stored(std::string_view bytes) {
  return bytes.starts_with(encrypted) || bytes.starts_with(stored_protobuf) || bytes.starts_with('{');
}

Error not_a_value(std::string_view bytes) {
  const std::string_view line = bytes.substr(0, bytes.find('\n'));
  if (line.starts_with("Error:"))
    return Error("this is an error of etcdctl: " + visible_text(utf8_text(line)));
  return Error("this is not a value from etcd: it begins with " + quoted(line),
               "use: etcdctl get KEY --print-value-only | base64");
}

std::variant<EtcdValue, NotKms, Error> parse_etcd_value(Bytes stored) {
  const std::string_view text = text_of(stored);
  if (text.empty()) return Error("there is no value: nothing was read");
  if (ends_within_prefix(text)) return damaged("it ends within its prefix");
  const bool is_v1 = text.starts_with(kms_v1);
  if (!is_v1 && !text.starts_with(kms_v2)) {
    if (auto foreign = describe_foreign(text)) return *std::move(foreign);
    return not_a_value(text);
  }
  const auto name_ends = text.find(':', kms_v2.size());
  if (name_ends == std::string_view::npos) return damaged("it ends within the provider's name");
  EtcdValue value{std::string(text.substr(kms_v2.size(), name_ends - kms_v2.size())), {}, is_v1};
  const std::string_view message = text.substr(name_ends + 1);
  const auto parsed = is_v1 ? parse_v1(message, value.object) : parse_v2(message, value.object);
  if (!parsed) return parsed.error();
  return value;
}

std::string key_id_of(const EtcdValue& value) {
  if (!value.is_v1) return value.object.key_id();
  return std::string(key_id_in_v1_cipher(value.object.encrypted_dek_source()));
}

Outcome<SecretBytes> open_object(const SecretBytes& dek_source, const EncryptedObject& object,
                                 std::string_view etcd_key) {
  const Bytes data = bytes_of(object.encrypted_data());
  if (object.dek_source_type() == EncryptedObject::AES_GCM_KEY) {
    return open_with_key(dek_source, data, etcd_key);
  }
  if (dek_source.size() < min_seed_size) {
    return Error("the seed has " + std::to_string(dek_source.size()) +
                 " bytes, and the API server's have 32");
  }
  if (data.size() < info_size) return too_short(data);
  const SecretBytes key = hkdf_sha256_expand(dek_source.view(), data.first(info_size), aes_gcm::key_size);
  return open_with_key(key, data.subspan(info_size), etcd_key);
}

}  // namespace kms::provider
