// How much of OpenSSL is made ready at a start.
#pragma once

namespace kms::provider {

/// To be called once, in main, before OpenSSL is used. It reads no openssl.cnf: what a system's file says of
/// providers is meant for its own OpenSSL, not for one that is linked in, and keys and ciphertexts
/// may not depend on it. The tables of algorithms by their old names, which nothing here asks for, stay
/// empty; both together are a third of OpenSSL's share of a start.
void set_up_openssl();

}  // namespace kms::provider
