#include "provider/keys/seed.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>

#include "common/crypto/sha256.h"
#include "common/io/fd.h"

namespace kms::provider {
namespace {

constexpr std::size_t hex_size = 2 * seed_size;
constexpr auto make_one = "make one with: head -c 32 /dev/urandom > FILE";
constexpr auto write_exactly = "write it with printf '%s', which adds no newline";

std::optional<std::uint8_t> hex_value(std::uint8_t c) {
  if (c >= '0' && c <= '9') return static_cast<std::uint8_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<std::uint8_t>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<std::uint8_t>(c - 'A' + 10);
  return std::nullopt;
}

bool is_hex(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t c) { return hex_value(c).has_value(); });
}

SecretBytes from_hex(Bytes digits) {
  SecretBytes seed(seed_size);
  for (std::size_t i = 0; i < seed_size; ++i) {
    seed.data()[i] =
        static_cast<std::uint8_t>(*hex_value(digits[2 * i]) << 4 | *hex_value(digits[2 * i + 1]));
  }
  return seed;
}

Error refused(const std::string& path, const std::string& why, const char* hint = make_one) {
  return {"seed file " + path + " " + why, hint};
}

Error cannot_read(const std::string& path) {
  return Error("cannot read seed file " + path + ": " + errno_text(errno));
}

}  // namespace

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

}  // namespace kms::provider
