// Random bytes drawn ahead, for nonces: OpenSSL's generator takes more time for 12 bytes than AES-GCM for a
// seed. Any thread; each has a pool of its own.
#pragma once

#include <cstdint>
#include <span>

namespace kms::provider {

/// Fills `nonce` (1024 bytes at most) with bytes that no other call gets: not in this process, and not in a
/// fork of it (the kernel empties the pool in the child, madvise(2): MADV_WIPEONFORK). Throws Error where
/// OpenSSL has none.
void draw_nonce(std::span<std::uint8_t> nonce);

}  // namespace kms::provider
