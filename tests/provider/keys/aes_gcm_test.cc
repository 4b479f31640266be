#include <doctest/doctest.h>

#include "common/crypto/bytes.h"
#include "common/error.h"
#include "provider/keys/sealing.h"
#include "tests/provider/hex.h"

using namespace kms;
using namespace kms::provider;

namespace {

/// One of the test cases of McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, in
/// hexadecimal.
struct Vector {
  const char* name;
  std::string key;
  std::string nonce;
  std::string additional;
  std::string plaintext;
  std::string ciphertext;
  std::string tag;
};

const std::string zero_key(64, '0');
const std::string zero_nonce(24, '0');
const std::string key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
const std::string nonce = "cafebabefacedbaddecaf888";
const std::string plaintext =
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
    "b16aedf5aa0de657ba637b391aafd255";
const std::string ciphertext =
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
    "c5f61e6393ba7a0abcc9f662898015ad";

const Vector vectors[] = {
    {"test case 13", zero_key, zero_nonce, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {"test case 14", zero_key, zero_nonce, "", std::string(32, '0'), "cea7403d4d606b6e074ec5d3baf39d18",
     "d0d1c8a799996bf0265b98b5d48ab919"},
    {"test case 15", key, nonce, "", plaintext, ciphertext, "b094dac5d93471bdec1a502270e3cc6c"},
    {"test case 16", key, nonce, "feedfacedeadbeeffeedfacedeadbeefabaddad2", plaintext.substr(0, 120),
     ciphertext.substr(0, 120), "76fc6ece0f4e1768cddf8853bb2d551b"},
};

}  // namespace

TEST_CASE(
    "another key, a message that does not open and one that is cut off leave nothing to the next message") {
  const std::string n = from_hex(nonce);
  for (int round = 0; round < 3; ++round) {
    for (const Vector* vector : {&vectors[1], &vectors[2], &vectors[2]}) {
      CAPTURE(vector->name);
      const std::string k = from_hex(vector->key);
      const std::string v = from_hex(vector->nonce);
      const std::string sealed = from_hex(vector->ciphertext + vector->tag);
      CHECK_FALSE(aes_gcm::decrypt(bytes_of(k), bytes_of(n), bytes_of("other"), bytes_of(sealed)));
      CHECK_FALSE(aes_gcm::decrypt(bytes_of(k), bytes_of(v), {}, bytes_of(sealed).first(16)));
      const auto opened = aes_gcm::decrypt(bytes_of(k), bytes_of(v), {}, bytes_of(sealed));
      REQUIRE(opened);
      std::string again;
      aes_gcm::encrypt(bytes_of(k), bytes_of(v), {}, opened->view(), again);
      CHECK(again == sealed);
    }
  }
}

TEST_CASE("AES-256-GCM encrypts and decrypts as McGrew and Viega's test cases print") {
  for (const Vector& vector : vectors) {
    CAPTURE(vector.name);
    const std::string k = from_hex(vector.key);
    const std::string n = from_hex(vector.nonce);
    const std::string a = from_hex(vector.additional);
    std::string sealed = "kept";
    aes_gcm::encrypt(bytes_of(k), bytes_of(n), bytes_of(a), bytes_of(from_hex(vector.plaintext)), sealed);
    CHECK(hex_of(bytes_of(sealed)) == "6b657074" + vector.ciphertext + vector.tag);

    const auto opened = aes_gcm::decrypt(bytes_of(k), bytes_of(n), bytes_of(a), bytes_of(sealed).subspan(4));
    REQUIRE(opened);
    CHECK(hex_of(opened->view()) == vector.plaintext);
  }
}

TEST_CASE("a key or nonce of another size is an error, and less than a tag opens nothing") {
  const std::string k(aes_gcm::key_size, 'k');
  const std::string n(aes_gcm::nonce_size, 'n');
  std::string out;
  CHECK_THROWS_AS(aes_gcm::encrypt(bytes_of(k).first(16), bytes_of(n), {}, {}, out), kms::Error);
  CHECK_THROWS_AS(aes_gcm::encrypt(bytes_of(k), bytes_of(n).first(8), {}, {}, out), kms::Error);
  CHECK_FALSE(aes_gcm::decrypt(bytes_of(k), bytes_of(n), {}, bytes_of(std::string(15, 'x'))));
  CHECK_FALSE(aes_gcm::decrypt(bytes_of(k), bytes_of(n), {}, {}));
}
