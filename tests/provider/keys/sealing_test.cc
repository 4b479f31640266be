#include "provider/keys/sealing.h"

#include <doctest/doctest.h>

#include <set>
#include <type_traits>

#include "provider/keys/key_ring.h"

using namespace kms;
using namespace kms::provider;

static_assert(!std::is_copy_constructible_v<SecretBytes> && !std::is_copy_assignable_v<SecretBytes>);
static_assert(std::is_nothrow_move_constructible_v<SecretBytes>);

namespace {

KeyRing ring() { return KeyRing(published_test_seed(), "default", 1); }

}  // namespace

TEST_CASE("rule 27: what was sealed opens to exactly the plaintext, of any size") {
  KeyRing keys = ring();
  const auto key = keys.current();
  for (const std::size_t size : {0U, 1U, 15U, 16U, 17U, 32U, 1000U, 1U << 20U}) {
    CAPTURE(size);
    std::string plaintext(size, '\0');
    for (std::size_t i = 0; i < size; ++i) plaintext[i] = static_cast<char>(i * 7);
    const std::string sealed = seal(*key, bytes_of(plaintext));
    CHECK(sealed.size() == size + seal_overhead);
    const auto opened = open(*key, bytes_of(sealed));
    REQUIRE(opened);
    CHECK(text_of(opened->view()) == plaintext);
  }
}

TEST_CASE("rule 30: no sealed value opens with a bit flipped at any byte, cut short or made longer") {
  KeyRing keys = ring();
  const auto key = keys.current();
  const std::string sealed = seal(*key, bytes_of("0123456789abcdef0123456789abcdef"));
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    for (const int bit : {0x01, 0x80}) {
      CAPTURE(i);
      std::string changed = sealed;
      changed[i] = static_cast<char>(changed[i] ^ bit);
      CHECK_FALSE(open(*key, bytes_of(changed)));
    }
    CHECK_FALSE(open(*key, bytes_of(sealed).first(i)));
  }
  CHECK_FALSE(open(*key, bytes_of(sealed + '\0')));
}

TEST_CASE("rule 30: a sealed value opens under the key that sealed it and no other") {
  KeyRing keys = ring();
  const std::string sealed = seal(*keys.current(), bytes_of("secret"));
  CHECK_FALSE(open(*keys.at(2), bytes_of(sealed)));

  // The same key bytes under another name: the name is bound too.
  const auto key = keys.current();
  Key renamed{key->id, "default/v1/00000000", SecretBytes::copy_of(key->bytes.view())};
  CHECK_FALSE(open(renamed, bytes_of(sealed)));
  Key moved{key->id, key->id_text, SecretBytes::copy_of(key->bytes.view())};
  moved.id.instance = "other";
  CHECK_FALSE(open(moved, bytes_of(sealed)));
}

TEST_CASE("rule 26: every call draws a nonce of its own") {
  KeyRing keys = ring();
  std::set<std::string> nonces;
  for (int i = 0; i < 10'000; ++i) nonces.insert(seal(*keys.current(), {}).substr(0, 12));
  CHECK(nonces.size() == 10'000);
}

TEST_CASE("a secret that moved away leaves nothing behind, and a wiped string is empty") {
  SecretBytes from = SecretBytes::copy_of(bytes_of("secret"));
  SecretBytes to(std::move(from));
  CHECK(text_of(to.view()) == "secret");
  CHECK(from.size() == 0);  // NOLINT(bugprone-use-after-move): that it is empty is the promise
  to = SecretBytes::copy_of(bytes_of("other"));
  CHECK(text_of(to.view()) == "other");

  std::string text = "a plaintext that is too long for the string itself";
  const char* const where = text.data();
  wipe(text);
  CHECK(text.empty());
  CHECK(std::string_view(where, 11) == std::string_view("\0\0\0\0\0\0\0\0\0\0\0", 11));
}
