#include "provider/commands/calls.h"

#include <unistd.h>

#include <array>
#include <cstdio>

#include "common/cli/exit_code.h"
#include "common/crypto/secret_bytes.h"
#include "common/error.h"
#include "common/text/escape.h"
#include "common/text/protobuf.h"
#include "provider/commands/plugin_call.h"

namespace kms::provider {
namespace {

using Stub = v2::KeyManagementService::Stub;

int complain(int code, const std::string& line) {
  std::fprintf(stderr, "mock-kms-provider: %s\n", line.c_str());
  return code;
}

/// All of stdin. The caller wipes it where it is a secret; a buffer that grew left copies in freed memory.
std::string read_stdin() {
  std::string text;
  text.reserve(1 << 16);
  std::array<char, 4096> part{};
  while (true) {
    const ssize_t got = ::read(STDIN_FILENO, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_errno("read standard input");
    if (got == 0) break;
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  OPENSSL_cleanse(part.data(), part.size());
  return text;
}

int print(std::string_view text) {
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  return written ? exit_code::ok : complain(exit_code::failed, "cannot write to standard output");
}

int print_json(const google::protobuf::Message& message) {
  return print(to_json(message, JsonLayout::line) + "\n");
}

}  // namespace

int call_status(const CallOptions& options) {
  const auto status =
      call_plugin(options.socket, options.timeout, "Status", v2::StatusRequest(), &Stub::Status);
  if (options.output == "json") return print_json(status);
  return print("version  " + visible_text(status.version()) + "\nhealthz  " + visible_text(status.healthz()) +
               "\nkey_id   " + visible_text(status.key_id()) + "\n");
}

int call_encrypt(const CallOptions& options) {
  v2::EncryptRequest request;
  const WipeAtEnd plaintext(*request.mutable_plaintext());
  request.set_plaintext(read_stdin());
  request.set_uid(options.uid);
  const auto answer = call_plugin(options.socket, options.timeout, "Encrypt", request, &Stub::Encrypt);
  return print_json(answer);
}

int call_decrypt(const CallOptions& options) {
  v2::EncryptResponse sealed;
  if (const auto read = from_json(read_stdin(), sealed); !read) {
    return complain(exit_code::usage,
                    "standard input is not the JSON that `encrypt` prints: " + read.error().cause());
  }
  v2::DecryptRequest request;
  request.set_ciphertext(sealed.ciphertext());
  request.set_key_id(sealed.key_id());
  request.set_uid(options.uid);
  *request.mutable_annotations() = sealed.annotations();
  auto answer = call_plugin(options.socket, options.timeout, "Decrypt", request, &Stub::Decrypt);
  std::string& plaintext = *answer.mutable_plaintext();
  const WipeAtEnd wiping(plaintext);
  return print(plaintext);
}

}  // namespace kms::provider
