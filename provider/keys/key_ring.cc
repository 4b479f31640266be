#include "provider/keys/key_ring.h"

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "common/crypto/bytes.h"
#include "common/crypto/openssl.h"
#include "common/crypto/sha256.h"
#include "common/io/fd.h"
#include "provider/keys/sealing.h"

namespace kms::provider {
namespace {

constexpr std::size_t check_size = 4;

SecretBytes derive_from(const SecretBytes& seed, std::string_view purpose, const std::string& instance,
                        KeyVersion version, std::size_t length) {
  std::string info;
  append_field(info, purpose);
  append_field(info, instance);
  append_field(info, std::to_string(version));
  return hkdf_sha256(seed.view(), {}, bytes_of(info), length);
}

constexpr std::size_t hex_size = 2 * seed_size;
constexpr auto make_one = "make one with: head -c 32 /dev/urandom > FILE";
constexpr auto write_exactly = "write it with printf '%s', which adds no newline";

bool is_hex(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t c) { return hex_value(c).has_value(); });
}

SecretBytes from_hex(Bytes digits) {
  SecretBytes seed(seed_size);
  for (std::size_t i = 0; i < seed_size; ++i) seed.data()[i] = hex_byte(digits[2 * i], digits[2 * i + 1]);
  return seed;
}

Error refused(const std::string& path, const std::string& why, const char* hint = make_one) {
  return {"seed file " + path + " " + why, hint};
}

Error cannot_read(const std::string& path) {
  return Error("cannot read seed file " + path + ": " + errno_text(errno));
}

using Kdf = std::unique_ptr<EVP_KDF, Free<EVP_KDF_free>>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, Free<EVP_KDF_CTX_free>>;

/// OpenSSL's parameters are not const, but it only reads these. It refuses a null pointer even for no bytes.
OSSL_PARAM octets(const char* name, Bytes bytes) {
  static std::uint8_t nothing = 0;
  auto* const data = bytes.empty() ? &nothing : const_cast<std::uint8_t*>(bytes.data());
  return OSSL_PARAM_construct_octet_string(name, data, bytes.size());
}

SecretBytes derive(const OSSL_PARAM* parameters, std::size_t length) {
  const Kdf kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  if (!kdf) openssl::throw_error("find HKDF");
  const KdfContext context(EVP_KDF_CTX_new(kdf.get()));
  if (!context) openssl::throw_error("prepare HKDF");
  SecretBytes key(length);
  if (EVP_KDF_derive(context.get(), key.data(), key.size(), parameters) != 1)
    openssl::throw_error("derive a key");
  return key;
}

OSSL_PARAM text(const char* name, std::string& value) {
  return OSSL_PARAM_construct_utf8_string(name, value.data(), 0);
}

}  // namespace

KeyRing::KeyRing(SecretBytes seed, std::string instance, KeyVersion current, KeyIdFormat format)
    : seed_(std::move(seed)),
      instance_(std::move(instance)),
      format_(std::move(format)),
      current_(derive(current)) {}

std::shared_ptr<const Key> KeyRing::current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

std::shared_ptr<const Key> KeyRing::at(KeyVersion version) {
  {
    const std::lock_guard lock(mutex_);
    if (current_->id.version == version) return current_;
    if (const auto found = cache_.find(version); found != cache_.end()) return found->second;
  }
  auto key = derive(version);
  const std::lock_guard lock(mutex_);
  if (cache_.emplace(version, key).second) oldest_first_.push_back(version);
  if (oldest_first_.size() > max_cached) {
    cache_.erase(oldest_first_.front());
    oldest_first_.pop_front();
  }
  return key;
}

void KeyRing::set_current(KeyVersion version) {
  auto key = derive(version);
  const std::lock_guard lock(mutex_);
  current_ = std::move(key);
}

std::shared_ptr<const Key> KeyRing::derive(KeyVersion version) const {
  const SecretBytes check = derive_from(seed_, "mock-kms key check", instance_, version, check_size);
  KeyId id{instance_, version, hex_of(check.view())};
  std::string text = format_.write(id);
  return std::make_shared<const Key>(
      Key{std::move(id), std::move(text),
          derive_from(seed_, "mock-kms key encryption key", instance_, version, aes_gcm::key_size)});
}

SecretBytes published_test_seed() {
  return SecretBytes::copy_of(sha256(bytes_of("mock-kms-provider published test seed")));
}

Outcome<SecretBytes> parse_seed(Bytes content, const std::string& path) {
  const std::size_t size = content.size();
  const std::string says = "holds " + std::to_string(size) + " bytes: ";
  if (size == seed_size) return SecretBytes::copy_of(content);
  if (size == hex_size && is_hex(content)) return from_hex(content);
  if (size == 0) return refused(path, "is empty");
  if (size == hex_size) return refused(path, says + "64 characters that are not all hexadecimal digits");
  if (content.back() == '\n') {
    const bool crlf = size > 1 && content[size - 2] == '\r';
    const Bytes line = content.first(size - (crlf ? 2 : 1));
    const std::string end = crlf ? "a carriage return and a newline" : "a newline";
    if (line.size() == hex_size && is_hex(line)) {
      return refused(path, says + "64 hex digits followed by " + end, write_exactly);
    }
    if (line.size() == seed_size) return refused(path, says + "32 bytes followed by " + end, write_exactly);
  }
  if (size == hex_size + 2 && (text_of(content).starts_with("0x") || text_of(content).starts_with("0X"))) {
    return refused(path, says + "64 hex digits behind a prefix", "write the digits alone, without 0x");
  }
  return refused(path, says + "a seed is 32 bytes or 64 hexadecimal digits, and nothing else");
}

Outcome<SecretBytes> read_seed_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat found {};
  if (!fd || ::fstat(fd.get(), &found) != 0) return cannot_read(path);
  if (S_ISDIR(found.st_mode)) return refused(path, "is a directory", "name the file in it");
  // Larger than every valid form, so that a file that is too long is recognised.
  SecretBytes content(4096);
  std::size_t size = 0;
  while (size < content.size()) {
    const ssize_t got = ::read(fd.get(), content.data() + size, content.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return cannot_read(path);
    if (got == 0) return parse_seed(content.view().first(size), path);
    size += static_cast<std::size_t>(got);
  }
  return refused(path, "holds 4096 bytes or more: a seed is 32 bytes or 64 hexadecimal digits");
}

SecretBytes hkdf_sha256(Bytes secret, Bytes salt, Bytes info, std::size_t length) {
  std::string digest = "SHA256";
  const std::array parameters{
      text(OSSL_KDF_PARAM_DIGEST, digest), octets(OSSL_KDF_PARAM_KEY, secret),
      octets(OSSL_KDF_PARAM_SALT, salt),   octets(OSSL_KDF_PARAM_INFO, info),
      OSSL_PARAM_construct_end(),
  };
  return derive(parameters.data(), length);
}

SecretBytes hkdf_sha256_expand(Bytes pseudorandom_key, Bytes info, std::size_t length) {
  std::string digest = "SHA256";
  std::string mode = "EXPAND_ONLY";
  const std::array parameters{
      text(OSSL_KDF_PARAM_DIGEST, digest),
      text(OSSL_KDF_PARAM_MODE, mode),
      octets(OSSL_KDF_PARAM_KEY, pseudorandom_key),
      octets(OSSL_KDF_PARAM_INFO, info),
      OSSL_PARAM_construct_end(),
  };
  return derive(parameters.data(), length);
}

void append_field(std::string& to, std::string_view field) {
  for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<char>(field.size() >> shift & 0xFF));
  to.append(field);
}

}  // namespace kms::provider
