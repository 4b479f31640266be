#include "provider/keys/sealing.h"

#include <array>

#include "common/crypto/bytes.h"
#include "provider/keys/aes_gcm.h"
#include "provider/keys/hkdf.h"
#include "provider/keys/nonce_pool.h"

namespace kms::provider {
namespace {

static_assert(seal_overhead == aes_gcm::nonce_size + aes_gcm::tag_size);

std::string additional_data(const Key& key) {
  std::string data;
  data.reserve(64 + key.id.instance.size() + key.id_text.size());
  append_field(data, "mock-kms sealed value");
  append_field(data, seal_format);
  append_field(data, key.id.instance);
  append_field(data, key.id_text);
  return data;
}

}  // namespace

std::string seal(const Key& key, Bytes plaintext, Nonce choice) {
  std::array<std::uint8_t, aes_gcm::nonce_size> nonce{};
  if (choice == Nonce::fresh) draw_nonce(nonce);
  std::string sealed;
  sealed.reserve(plaintext.size() + seal_overhead);
  sealed.append(text_of(nonce));
  aes_gcm::encrypt(key.bytes.view(), nonce, bytes_of(additional_data(key)), plaintext, sealed);
  return sealed;
}

std::optional<SecretBytes> open(const Key& key, Bytes sealed) {
  if (sealed.size() < seal_overhead) return std::nullopt;
  return aes_gcm::decrypt(key.bytes.view(), sealed.first(aes_gcm::nonce_size), bytes_of(additional_data(key)),
                          sealed.subspan(aes_gcm::nonce_size));
}

}  // namespace kms::provider
