#include "proto/build_info_file.h"

#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <memory>
#include <sstream>
#include <vector>

#include "proto/program/error.h"
#include "proto/program/unique_fd.h"

namespace kms {
namespace {

namespace json = google::protobuf::util;
using mock_kms::v1::BuildInfo;

struct FreeDigest {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

std::string hex(const unsigned char* bytes, std::size_t count) {
  constexpr auto digits = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += {digits[bytes[i] >> 4], digits[bytes[i] & 15]};
  return text;
}

}  // namespace

std::optional<BuildInfo> read_build_info(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::stringstream text;
  text << stream.rdbuf();
  json::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // of a newer builder
  BuildInfo info;
  if (!stream || !json::JsonStringToMessage(text.str(), &info, options).ok()) return std::nullopt;
  return info;
}

std::optional<BuildInfo> build_info_describing(const BuildInfo& file, const std::string& sha256) {
  const bool own = file.binary().sha256() == sha256;
  if (!own && file.previous().binary().sha256() != sha256) return std::nullopt;
  BuildInfo info = own ? file : file.previous();
  info.clear_previous();
  return info;
}

std::string build_info_json(const BuildInfo& info) {
  json::JsonPrintOptions options;
  options.add_whitespace = true;
  std::string text;
  const auto status = json::MessageToJsonString(info, &text, options);
  if (!status.ok()) throw Error("cannot render the build info: " + std::string(status.message()));
  return text.ends_with('\n') ? text : text + "\n";
}

std::string sha256_of(int fd) {
  const std::unique_ptr<EVP_MD_CTX, FreeDigest> context(EVP_MD_CTX_new());
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) {
    throw Error("cannot prepare SHA-256");
  }
  std::vector<char> buffer(std::size_t{256} * 1024);
  for (off_t at = 0;;) {
    const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("read a file");
    if (n == 0) break;
    EVP_DigestUpdate(context.get(), buffer.data(), static_cast<std::size_t>(n));
    at += n;
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_DigestFinal_ex(context.get(), digest.data(), &size) != 1) throw Error("cannot finish SHA-256");
  return hex(digest.data(), size);
}

std::optional<std::string> sha256_of_file(const std::filesystem::path& file) {
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (!fd) throw_errno("open " + file.string());
  return sha256_of(fd.get());
}

}  // namespace kms
