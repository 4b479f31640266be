#include "common/crypto/openssl.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "common/error.h"

namespace kms::openssl {

void throw_error(const std::string& verb_and_object) {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  const std::string text = reason == nullptr ? "OpenSSL gives no reason" : reason;
  ERR_clear_error();
  throw Error("cannot " + verb_and_object + ": " + text);
}

void set_up() {
  constexpr auto lean =
      OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ADD_ALL_CIPHERS | OPENSSL_INIT_NO_ADD_ALL_DIGESTS;
  if (OPENSSL_init_crypto(lean, nullptr) != 1) throw_error("set up OpenSSL");
}

}  // namespace kms::openssl
