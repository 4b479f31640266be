#include "provider/keys/aes_gcm.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <limits>
#include <memory>

#include "common/crypto/openssl.h"
#include "common/error.h"

namespace kms::provider::aes_gcm {
namespace {

struct Deleter {
  void operator()(EVP_CIPHER* cipher) const { EVP_CIPHER_free(cipher); }
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};

/// Fetched once: a fetch takes locks and more time than sealing 32 bytes.
const EVP_CIPHER* cipher() {
  static const std::unique_ptr<EVP_CIPHER, Deleter> fetched(
      EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr));
  if (!fetched) openssl::throw_error("find AES-256-GCM");
  return fetched.get();
}

/// A thread's cipher context for one direction. It keeps the last key's schedule, which takes longer to make
/// than 32 bytes take to encrypt; the key itself is kept to know it again.
class Context {
 public:
  using Init = decltype(&EVP_EncryptInit_ex2);

  explicit Context(Init init) : init_(init), context_(EVP_CIPHER_CTX_new()) {
    if (!context_) openssl::throw_error("prepare AES-256-GCM");
  }

  /// The context, ready for one message; nullptr where OpenSSL fails.
  EVP_CIPHER_CTX* begin(Bytes key, Bytes nonce) {
    if (key_.size() == key.size() && CRYPTO_memcmp(key_.view().data(), key.data(), key.size()) == 0) {
      return init_(context_.get(), nullptr, nullptr, nonce.data(), nullptr) == 1 ? context_.get() : nullptr;
    }
    key_ = SecretBytes();
    if (init_(context_.get(), cipher(), key.data(), nonce.data(), nullptr) != 1) return nullptr;
    key_ = SecretBytes::copy_of(key);
    return context_.get();
  }

 private:
  Init init_;
  std::unique_ptr<EVP_CIPHER_CTX, Deleter> context_;  ///< wiped when it is freed
  SecretBytes key_;
};

int int_size(Bytes bytes) {
  if (bytes.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
    throw Error("cannot encrypt or decrypt more than 2 GiB at once");
  }
  return static_cast<int>(bytes.size());
}

void check_sizes(Bytes key, Bytes nonce) {
  if (key.size() != key_size || nonce.size() != nonce_size) {
    throw Error("cannot use a key or nonce of another size");
  }
}

}  // namespace

void encrypt(Bytes key, Bytes nonce, Bytes additional, Bytes plaintext, std::string& out) {
  check_sizes(key, nonce);
  thread_local Context reused(EVP_EncryptInit_ex2);
  EVP_CIPHER_CTX* const context = reused.begin(key, nonce);
  const std::size_t start = out.size();
  out.resize(start + plaintext.size() + tag_size);
  auto* const to = reinterpret_cast<std::uint8_t*>(out.data()) + start;
  int length = 0;
  const bool done =
      context != nullptr &&
      EVP_EncryptUpdate(context, nullptr, &length, additional.data(), int_size(additional)) == 1 &&
      EVP_EncryptUpdate(context, to, &length, plaintext.data(), int_size(plaintext)) == 1 &&
      EVP_EncryptFinal_ex(context, to + plaintext.size(), &length) == 1 &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, tag_size, to + plaintext.size()) == 1;
  if (!done) openssl::throw_error("encrypt");
}

std::optional<SecretBytes> decrypt(Bytes key, Bytes nonce, Bytes additional, Bytes sealed) {
  check_sizes(key, nonce);
  if (sealed.size() < tag_size) return std::nullopt;
  const Bytes ciphertext = sealed.first(sealed.size() - tag_size);
  auto* const tag = const_cast<std::uint8_t*>(sealed.last(tag_size).data());  // only read
  thread_local Context reused(EVP_DecryptInit_ex2);
  EVP_CIPHER_CTX* const context = reused.begin(key, nonce);
  SecretBytes plaintext(ciphertext.size());
  int length = 0;
  const bool ready =
      context != nullptr &&
      EVP_DecryptUpdate(context, nullptr, &length, additional.data(), int_size(additional)) == 1 &&
      EVP_DecryptUpdate(context, plaintext.data(), &length, ciphertext.data(), int_size(ciphertext)) == 1 &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, tag_size, tag) == 1;
  if (!ready) openssl::throw_error("decrypt");
  if (EVP_DecryptFinal_ex(context, plaintext.data() + plaintext.size(), &length) != 1) {
    ERR_clear_error();
    return std::nullopt;
  }
  return plaintext;
}

}  // namespace kms::provider::aes_gcm
