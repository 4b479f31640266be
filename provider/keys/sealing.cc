#include "provider/keys/sealing.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include "common/crypto/bytes.h"
#include "common/crypto/openssl.h"

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

void draw(std::span<std::uint8_t> bytes) {
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1)
    openssl::throw_error("draw random bytes");
}

/// A memory page of random bytes. A fork finds it zeroed (madvise(2): MADV_WIPEONFORK), so `left` is 0 there
/// and the child draws new ones.
struct Page {
  std::size_t left;
  std::uint8_t bytes[4096 - sizeof(std::size_t)];
};
static_assert(sizeof(Page) == 4096);

/// Random bytes drawn in advance: OpenSSL's generator takes more time for 12 bytes than AES-GCM for 32.
class NoncePool {
 public:
  NoncePool() {
    void* const memory =
        ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    page_ = static_cast<Page*>(memory);
    if (::madvise(memory, sizeof(Page), MADV_WIPEONFORK) == 0) return;
    unmap();  // a kernel before 4.14: draw each nonce separately
  }
  NoncePool(const NoncePool&) = delete;
  NoncePool& operator=(const NoncePool&) = delete;
  ~NoncePool() {
    if (page_ != nullptr) unmap();
  }

  void take(std::span<std::uint8_t> to) {
    if (page_ == nullptr) return draw(to);
    if (page_->left < to.size()) {
      draw(page_->bytes);
      page_->left = sizeof page_->bytes;
    }
    page_->left -= to.size();
    std::uint8_t* const from = page_->bytes + page_->left;
    std::copy_n(from, to.size(), to.data());
    OPENSSL_cleanse(from, to.size());
  }

 private:
  void unmap() {
    OPENSSL_cleanse(page_, sizeof *page_);
    ::munmap(page_, sizeof *page_);
    page_ = nullptr;
  }

  Page* page_ = nullptr;
};

/// Fetched once: a fetch takes locks and more time than sealing 32 bytes.
const EVP_CIPHER* cipher() {
  static const std::unique_ptr<EVP_CIPHER, Free<EVP_CIPHER_free>> fetched(
      EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr));
  if (!fetched) openssl::throw_error("find AES-256-GCM");
  return fetched.get();
}

/// A thread's cipher context for one direction. It keeps the last key's schedule, because making one takes
/// longer than encrypting 32 bytes. It keeps the key to recognise it.
class CipherState {
 public:
  using Init = decltype(&EVP_EncryptInit_ex2);

  explicit CipherState(Init init) : init_(init), context_(EVP_CIPHER_CTX_new()) {
    if (!context_) openssl::throw_error("prepare AES-256-GCM");
  }

  /// Prepares the context for one message; nullptr if OpenSSL fails.
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
  openssl::CipherContext context_;  ///< wiped when it is freed
  SecretBytes key_;
};

int int_size(Bytes bytes) {
  if (bytes.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
    throw Error("cannot encrypt or decrypt more than 2 GiB at once");
  }
  return static_cast<int>(bytes.size());
}

void check_sizes(Bytes key, Bytes nonce) {
  if (key.size() != aes_gcm::key_size || nonce.size() != aes_gcm::nonce_size) {
    throw Error("cannot use a key or nonce of another size");
  }
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

void draw_nonce(std::span<std::uint8_t> nonce) {
  thread_local NoncePool pool;
  pool.take(nonce);
}

namespace aes_gcm {

void encrypt(Bytes key, Bytes nonce, Bytes additional, Bytes plaintext, std::string& out) {
  check_sizes(key, nonce);
  thread_local CipherState reused(EVP_EncryptInit_ex2);
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
  thread_local CipherState reused(EVP_DecryptInit_ex2);
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

}  // namespace aes_gcm
}  // namespace kms::provider
