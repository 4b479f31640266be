#include "provider/keys/key_ring.h"

#include <doctest/doctest.h>

#include <atomic>
#include <limits>
#include <thread>

#include "provider/keys/sealing.h"

using namespace kms;
using namespace kms::provider;

namespace {

SecretBytes seed_of(char c) { return SecretBytes::copy_of(bytes_of(std::string(seed_size, c))); }

constexpr KeyVersion some_versions[] = {1, 2, 3, 1000, std::numeric_limits<KeyVersion>::max()};

}  // namespace

TEST_CASE("a key id is read back from its text, and no other text is one") {
  const KeyId id{"kms-1.blue", 42, "0123abcd"};
  const KeyIdFormat format;
  CHECK(format.write(id) == "kms-1.blue/v42/0123abcd");
  REQUIRE(format.read(format.write(id)));
  CHECK(*format.read(format.write(id)) == id);
  CHECK(format.read(format.write(id), &id.instance));
  const std::string other = "kms-1.red";
  CHECK_FALSE(format.read(format.write(id), &other));
  for (const char* text : {"",
                           "/",
                           "//",
                           "default",
                           "default/v1",
                           "default/v1/",
                           "default/v1/0123abc",
                           "default/v1/0123abcde",
                           "default/v1/0123ABCD",
                           "default/v1/0123abcg",
                           "default/v0/0123abcd",
                           "default/v01/0123abcd",
                           "default/v-1/0123abcd",
                           "default/v+1/0123abcd",
                           "default/v/0123abcd",
                           "default/1/0123abcd",
                           "default/v4294967296/0123abcd",
                           "default/v1x/0123abcd",
                           "/v1/0123abcd",
                           "de fault/v1/0123abcd",
                           "-x/v1/0123abcd",
                           "default/v1/0123abcd/",
                           " default/v1/0123abcd",
                           "default/v1/0123abcd\n"}) {
    CAPTURE(text);
    CHECK_FALSE(format.read(text));
  }
}

TEST_CASE("ids of any format are read back, and by a known instance without ambiguity") {
  const std::string instance = "i-1";
  for (const char* text : {"{version}", "{version}{check}", "{check}{version}", "a{instance}-{version}",
                           "{instance}{version}", "{version}{instance}",
                           "arn:aws:kms:{check}/{instance}/{version}", "x}{version}y", "\xC3\xA4{version}"}) {
    CAPTURE(text);
    const auto format = KeyIdFormat::parse(text);
    REQUIRE(format);
    for (const KeyVersion version : some_versions) {
      const auto read = format->read(format->write({instance, version, "12345678"}), &instance);
      REQUIRE(read);
      CHECK(read->version == version);
    }
    CHECK_FALSE(format->read("default/v1/0123abcd", &instance));
  }
}

TEST_CASE("a format without a version, or that breaks rule 13, is refused with the reason") {
  const auto refusal = [](const std::string& text) {
    const auto format = KeyIdFormat::parse(text);
    return format ? std::string() : format.error().cause();
  };
  CHECK(refusal("") == "it does not contain {version}");
  CHECK(refusal("key") == "it does not contain {version}");
  CHECK(refusal("{version}{version}") == "it has {version} twice");
  CHECK(refusal("{version}{seed}") == "it has a { that begins none of {instance}, {version}, {check}");
  CHECK(refusal("{version}\xFF") == "it is not UTF-8");
  CHECK(refusal(std::string(1014, 'x') + "{version}") == "");
  CHECK(refusal(std::string(1015, 'x') + "{version}") == "its key ids can be longer than 1024 bytes");
}

TEST_CASE("an instance has a short plain name") {
  for (const char* name : {"default", "a", "1", "kms-1", "kms.blue_2", "A"}) CHECK(check_instance(name).ok());
  for (const char* name : {"", "-a", ".a", "a/b", "a b", "\xC3\xA4"}) CHECK_FALSE(check_instance(name).ok());
  CHECK(check_instance(std::string(63, 'a')).ok());
  CHECK_FALSE(check_instance(std::string(64, 'a')).ok());
}

TEST_CASE("rule 29: two rings with one seed read each other at any version, wherever they stand") {
  KeyRing one(seed_of('s'), "default", 1);
  KeyRing two(seed_of('s'), "default", 7);
  for (const KeyVersion version : some_versions) {
    CAPTURE(version);
    CHECK(one.at(version)->id_text == two.at(version)->id_text);
    const auto opened = open(*two.at(version), bytes_of(seal(*one.at(version), bytes_of("secret"))));
    REQUIRE(opened);
    CHECK(text_of(opened->view()) == "secret");
  }
}

TEST_CASE("another seed or instance has other keys, and its ids show it") {
  KeyRing ring(seed_of('s'), "default", 1);
  KeyRing other_seed(seed_of('t'), "default", 1);
  KeyRing other_instance(seed_of('s'), "other", 1);
  for (const KeyVersion version : some_versions) {
    const auto key = ring.at(version);
    for (KeyRing* other : {&other_seed, &other_instance}) {
      const auto theirs = other->at(version);
      CHECK(key->id_text != theirs->id_text);
      CHECK(text_of(key->bytes.view()) != text_of(theirs->bytes.view()));
      const Key confused{key->id, key->id_text, SecretBytes::copy_of(theirs->bytes.view())};
      CHECK_FALSE(open(confused, bytes_of(seal(*key, bytes_of("secret")))));
    }
  }
}

TEST_CASE("the keys of the published test seed never change: old ciphertexts depend on them") {
  KeyRing ring(published_test_seed(), "default", 1);
  CHECK(ring.current()->id_text == "default/v1/e23984db");
}

TEST_CASE("more versions than are remembered stay readable") {
  KeyRing ring(seed_of('s'), "default", 1);
  const std::string first = seal(*ring.at(2), bytes_of("old"));
  for (KeyVersion version = 3; version < 3 + 3 * KeyRing::max_cached; ++version) (void)ring.at(version);
  CHECK(open(*ring.at(2), bytes_of(first)));
}

TEST_CASE("rules 14, 15: a change of version is one step for all who ask meanwhile") {
  KeyRing ring(seed_of('s'), "default", 1);
  std::atomic<bool> done = false;
  std::atomic<int> backwards = 0;
  std::thread reader([&] {
    KeyVersion last = 0;
    while (!done) {
      const auto key = ring.current();
      if (key->id.version < last || !open(*key, bytes_of(seal(*ring.at(key->id.version), {})))) ++backwards;
      last = key->id.version;
    }
  });
  for (KeyVersion version = 2; version <= 200; ++version) ring.set_current(version);
  done = true;
  reader.join();
  CHECK(backwards == 0);
  CHECK(ring.current()->id.version == 200);
}
