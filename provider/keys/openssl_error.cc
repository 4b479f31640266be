#include "provider/keys/openssl_error.h"

#include <openssl/err.h>

#include "proto/program/error.h"

namespace kms::provider {

void throw_openssl(const std::string& verb_and_object) {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  const std::string text = reason == nullptr ? "OpenSSL gives no reason" : reason;
  ERR_clear_error();
  throw Error("cannot " + verb_and_object + ": " + text);
}

}  // namespace kms::provider
