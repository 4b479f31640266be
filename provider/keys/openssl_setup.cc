#include "provider/keys/openssl_setup.h"

#include <openssl/crypto.h>

#include "provider/keys/openssl_error.h"

namespace kms::provider {

void set_up_openssl() {
  constexpr auto lean =
      OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ADD_ALL_CIPHERS | OPENSSL_INIT_NO_ADD_ALL_DIGESTS;
  if (OPENSSL_init_crypto(lean, nullptr) != 1) throw_openssl("set up OpenSSL");
}

}  // namespace kms::provider
