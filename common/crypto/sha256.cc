#include "common/crypto/sha256.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "common/crypto/openssl.h"
#include "common/error.h"
#include "common/io/fd.h"

namespace kms {

std::array<std::uint8_t, 32> sha256(Bytes bytes) {
  std::array<std::uint8_t, 32> digest{};
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) != 1) {
    openssl::throw_error("compute SHA-256");
  }
  return digest;
}

std::string sha256_hex(Bytes bytes) { return hex_of(sha256(bytes)); }

std::string sha256_of(int fd) {
  const openssl::DigestContext context(EVP_MD_CTX_new());
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) {
    openssl::throw_error("compute SHA-256");
  }
  std::vector<char> buffer(std::size_t{256} * 1024);
  for (off_t at = 0;;) {
    const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("read a file");
    if (n == 0) break;
    if (EVP_DigestUpdate(context.get(), buffer.data(), static_cast<std::size_t>(n)) != 1) {
      openssl::throw_error("compute SHA-256");
    }
    at += n;
  }
  std::array<std::uint8_t, 32> digest{};
  if (EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) != 1) openssl::throw_error("compute SHA-256");
  return hex_of(digest);
}

std::optional<std::string> sha256_of_file(const std::filesystem::path& file) {
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));  // a FIFO would block
  if (!fd && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (!fd) throw_errno("open " + file.string());
  return sha256_of(fd.get());
}

}  // namespace kms
