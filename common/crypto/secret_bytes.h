// SecretBytes owns a key, a seed or a plaintext, and overwrites it when it is given up.
//
// Move-only; used from any one thread at a time, read from any. It has no copy, no comparison and no way to a
// stream or a log; its memory is swappable like any other's (the provider forbids core dumps, see
// provider/main.cc).
#pragma once

#include <openssl/crypto.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "common/crypto/bytes.h"

namespace kms {

class SecretBytes {
 public:
  SecretBytes() = default;
  /// `size` zero bytes, to be filled in through data().
  explicit SecretBytes(std::size_t size) : bytes_(new std::uint8_t[size]()), size_(size) {}

  SecretBytes(SecretBytes&& other) noexcept
      : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)) {}
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    if (this == &other) return *this;
    wipe();
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }
  ~SecretBytes() { wipe(); }

  [[nodiscard]] static SecretBytes copy_of(Bytes bytes) {
    SecretBytes secret(bytes.size());
    std::copy(bytes.begin(), bytes.end(), secret.data());
    return secret;
  }

  [[nodiscard]] std::uint8_t* data() { return bytes_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] Bytes view() const { return {bytes_.get(), size_}; }

 private:
  void wipe() {
    if (bytes_) OPENSSL_cleanse(bytes_.get(), size_);
  }

  std::unique_ptr<std::uint8_t[]> bytes_;
  std::size_t size_ = 0;
};

/// Overwrites the bytes of a string that held a secret, for those that protobuf and iostreams make.
inline void wipe(std::string& text) {
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

/// Wipes a string when its scope ends, by an exception too.
class WipeAtEnd {
 public:
  explicit WipeAtEnd(std::string& text) : text_(text) {}
  WipeAtEnd(const WipeAtEnd&) = delete;
  WipeAtEnd& operator=(const WipeAtEnd&) = delete;
  ~WipeAtEnd() { wipe(text_); }

 private:
  std::string& text_;
};

}  // namespace kms
