#include <doctest/doctest.h>

#include "provider/keys/key_ring.h"
#include "provider/keys/sealing.h"
#include "provider/kms/aes_service.h"

using namespace kms;
using namespace kms::provider;

namespace {

constexpr std::string_view plaintext = "0123456789abcdef0123456789abcdef";

struct Provider {
  explicit Provider(std::string instance = "default", KeyVersion version = 1,
                    SecretBytes seed = published_test_seed())
      : keys(std::move(seed), std::move(instance), version) {}

  EncryptAnswer encrypted(std::string_view text = plaintext) {
    return *service.encrypt("uid", bytes_of(text), {});
  }

  /// The plaintext, or the code and text of the error.
  std::string decrypted(const EncryptAnswer& sealed) {
    const auto answer = service.decrypt({bytes_of(sealed.ciphertext), sealed.key_id, sealed.annotations});
    if (answer) return std::string(text_of(answer->view()));
    const char* code = answer.error().code() == ErrorCode::not_found ? "NotFound: " : "InvalidArgument: ";
    return code + answer.error().cause();
  }

  KeyRing keys;
  AesService service{keys};
};

SecretBytes another_seed() { return SecretBytes::copy_of(bytes_of(std::string(seed_size, 'x'))); }

bool begins(const std::string& text, std::string_view with) { return text.starts_with(with); }

}  // namespace

TEST_CASE("rules 10, 12, 13, 14: Status names the version, is ok and names the key id that Encrypt uses") {
  Provider provider;
  const auto status = *provider.service.status();
  CHECK(status.version == "v2");
  CHECK(status.healthz == "ok");
  CHECK(status.key_id == "default/v1/e23984db");
  CHECK(provider.encrypted().key_id == status.key_id);
  provider.keys.set_current(2);
  const auto later = *provider.service.status();
  CHECK(begins(later.key_id, "default/v2/"));
  CHECK(provider.encrypted().key_id == later.key_id);
}

TEST_CASE(
    "rules 20, 21, 23, 26: Encrypt gives a short fresh ciphertext and one annotation with a domain's name") {
  Provider provider;
  const auto sealed = provider.encrypted();
  CHECK(sealed.ciphertext.size() == plaintext.size() + seal_overhead);
  CHECK(sealed.ciphertext.find(plaintext) == std::string::npos);
  CHECK(sealed.annotations == Annotations{{"format.mock-kms.test", "1"}});
  CHECK(provider.encrypted().ciphertext != sealed.ciphertext);
}

TEST_CASE("rule 25: an empty uid is refused, any other is fine") {
  Provider provider;
  const auto answer = provider.service.encrypt("", bytes_of(plaintext), {});
  REQUIRE_FALSE(answer.ok());
  CHECK(answer.error().code() == ErrorCode::invalid_input);
  for (const char* uid : {"x", " ", "\n", "no uuid"}) {
    CHECK(provider.service.encrypt(uid, {}, {}).ok());
  }
}

TEST_CASE("rules 27, 29: what was encrypted decrypts, after rotations and on every replica too") {
  Provider provider;
  const auto old = provider.encrypted("old");
  provider.keys.set_current(5);
  const auto recent = provider.encrypted("recent");
  CHECK(provider.decrypted(old) == "old");
  Provider replica;
  CHECK(replica.decrypted(old) == "old");
  CHECK(replica.decrypted(recent) == "recent");
}

TEST_CASE("rules 30, 32: a changed or cut ciphertext is InvalidArgument") {
  Provider provider;
  for (std::size_t i = 0; i < plaintext.size() + seal_overhead; ++i) {
    CAPTURE(i);
    auto sealed = provider.encrypted();
    sealed.ciphertext[i] = static_cast<char>(sealed.ciphertext[i] ^ 1);
    CHECK(begins(provider.decrypted(sealed), "InvalidArgument: ciphertext was not made under"));
    sealed.ciphertext.resize(i);
    CHECK(begins(provider.decrypted(sealed), "InvalidArgument: ciphertext "));
  }
}

TEST_CASE("rules 30, 32: missing, changed and extra annotations are InvalidArgument") {
  Provider provider;
  const auto sealed = provider.encrypted();
  const auto with = [&](Annotations annotations) {
    auto changed = sealed;
    changed.annotations = std::move(annotations);
    return provider.decrypted(changed);
  };
  CHECK(begins(with({}), "InvalidArgument: annotation format.mock-kms.test is missing"));
  CHECK(begins(with({{"format.mock-kms.test", "2"}}),
               "InvalidArgument: annotation format.mock-kms.test is not"));
  CHECK(begins(with({{"format.mock-kms.test", ""}}), "InvalidArgument: "));
  CHECK(begins(with({{"format.mock-kms.test", "1"}, {"other.test", "1"}}),
               "InvalidArgument: there is an annotation"));
  CHECK(begins(with({{"Format.mock-kms.test", "1"}}), "InvalidArgument: "));
}

TEST_CASE("rule 32: no key id is InvalidArgument, another seed's or instance's is NotFound") {
  Provider provider;
  auto sealed = provider.encrypted();
  for (const char* key_id : {"", "1", "default/v1", "default/v1/E23984DB"}) {
    sealed.key_id = key_id;
    CHECK(begins(provider.decrypted(sealed), "InvalidArgument: key_id"));
  }
  Provider other_seed("default", 1, another_seed());
  CHECK(begins(provider.decrypted(other_seed.encrypted()), "NotFound: key_id default/v1/"));
  Provider other_instance("other");
  CHECK(begins(provider.decrypted(other_instance.encrypted()), "NotFound: key_id other/v1/"));
}

TEST_CASE("rule 30: a ciphertext under another version's key id is refused") {
  Provider provider;
  auto sealed = provider.encrypted();
  sealed.key_id = provider.keys.at(2)->id_text;
  CHECK(begins(provider.decrypted(sealed), "InvalidArgument: ciphertext was not made under"));
}
