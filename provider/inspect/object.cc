#include "provider/inspect/object.h"

#include "provider/keys/aes_gcm.h"
#include "provider/keys/hkdf.h"

namespace kms::provider {
namespace {

using mock_kms::v1::EncryptedObject;

constexpr std::size_t info_size = 32;
constexpr std::size_t min_seed_size = 32;

Outcome<SecretBytes> open_under(const SecretBytes& key, Bytes data, std::string_view etcd_key) {
  if (key.size() != aes_gcm::key_size) {
    return Error("the DEK has " + std::to_string(key.size()) + " bytes, and the API server's have 32");
  }
  if (data.size() < aes_gcm::nonce_size + aes_gcm::tag_size) {
    return Error("the encrypted data is too short: " + std::to_string(data.size()) + " bytes");
  }
  auto opened = aes_gcm::decrypt(key.view(), data.first(aes_gcm::nonce_size), bytes_of(etcd_key),
                                 data.subspan(aes_gcm::nonce_size));
  if (opened) return *std::move(opened);
  return Error("the object does not open as the one at " + std::string(etcd_key),
               "its etcd key is another one, or it was changed");
}

}  // namespace

Outcome<SecretBytes> open_object(const SecretBytes& dek_source, const EncryptedObject& object,
                                 std::string_view etcd_key) {
  const Bytes data = bytes_of(object.encrypted_data());
  if (object.dek_source_type() == EncryptedObject::AES_GCM_KEY) return open_under(dek_source, data, etcd_key);
  if (dek_source.size() < min_seed_size) {
    return Error("the seed has " + std::to_string(dek_source.size()) +
                 " bytes, and the API server's have 32");
  }
  if (data.size() < info_size) {
    return Error("the encrypted data is too short: " + std::to_string(data.size()) + " bytes");
  }
  const SecretBytes key = hkdf_sha256_expand(dek_source.view(), data.first(info_size), aes_gcm::key_size);
  return open_under(key, data.subspan(info_size), etcd_key);
}

}  // namespace kms::provider
