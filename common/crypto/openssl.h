// Shared by all users of OpenSSL: objects that free themselves, errors as exceptions, and a lean start.
//
// Safe from any thread; OpenSSL's error queue belongs to the thread.
#pragma once

#include <openssl/evp.h>

#include <memory>
#include <string>

#include "common/free.h"

namespace kms::openssl {

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, Free<EVP_CIPHER_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Free<EVP_PKEY_CTX_free>>;

/// Throws Error "cannot VERB OBJECT: reason" with OpenSSL's last reason, and empties the thread's error
/// queue.
[[noreturn]] void throw_error(const std::string& verb_and_object);

/// Call it once in main, before any other use of OpenSSL. It reads no openssl.cnf: a system's file configures
/// its own OpenSSL, not one that is linked in, and keys and ciphertexts must not depend on it. It skips the
/// tables of algorithms by their old names. Together these are a third of OpenSSL's share of a start.
void set_up();

}  // namespace kms::openssl
