// Turns OpenSSL's error queue into an exception. Any thread (the queue is the thread's own).
#pragma once

#include <string>

namespace kms::provider {

/// Throws kms::Error "cannot <verb and object>: <OpenSSL's reason>" and empties the thread's error queue.
[[noreturn]] void throw_openssl(const std::string& verb_and_object);

}  // namespace kms::provider
