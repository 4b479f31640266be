#include <doctest/doctest.h>

#include "common/crypto/bytes.h"
#include "provider/inspect/input.h"
#include "provider/inspect/value.h"
#include "tests/provider/hex.h"

namespace kms::provider {
namespace {

using mock_kms::v1::EncryptedObject;

// Made by tests/end_to_end/test_inspect.py's functions, which use Python's cryptography: the DEK source is
// 00 01 .. 1f, sealed under the published test seed; the object is "k8s\0 fixed object".
const std::string by_seed =
    "6b38733a656e633a6b6d733a76323a6d6f636b2d6b6d733a0a4dc36ed80e71e0fd77b07670eb940bd5335f973daad861"
    "9b91ffc911f57cced458c7dd01e4887534a20f0b0d04235a8fb342114c30920af9c5622f696096dddb2d79f7c1f48b03"
    "a324d1db31b5bd121364656661756c742f76312f65323339383464621a3c4420823cfde6f1c26b30f90e9b356034c6c7"
    "78297af15612cd3b44d3c1397c26be6f0c3651356910b514e335c92ba85cc1954d648ad47a33965dc6e522190a14666f"
    "726d61742e6d6f636b2d6b6d732e746573741201312801";
const std::string by_key =
    "6b38733a656e633a6b6d733a76323a6d6f636b2d6b6d733a0a2d89385eb09423555182568b9635cb2459d7ae724b839f"
    "706f97d2627e4a4f5b2991c6a5c0563cf3201f2b948b10121364656661756c742f76312f65323339383464621a3c5a5c"
    "2e8210242a08e7078f7fbeebc5d873749c082b854891bd2054913a20c2b2ff956716b8ea0841c712ea3c7ba38cd96b93"
    "6d45ff2d52f1895ee56f22190a14666f726d61742e6d6f636b2d6b6d732e74657374120131";
constexpr auto etcd_key = "/registry/secrets/default/probe";

SecretBytes dek_source() {
  SecretBytes bytes(32);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes.data()[i] = static_cast<std::uint8_t>(i);
  return bytes;
}

EtcdValue parsed(const std::string& hex) {
  auto outcome = parse_etcd_value(bytes_of(from_hex(hex)));
  REQUIRE(std::holds_alternative<EtcdValue>(outcome));
  return std::get<EtcdValue>(std::move(outcome));
}

TEST_CASE("fixed values of both schemes are read and open at their key in etcd") {
  for (const auto& [hex, kind] : {std::pair{by_seed, EncryptedObject::HKDF_SHA256_XNONCE_AES_GCM_SEED},
                                  {by_key, EncryptedObject::AES_GCM_KEY}}) {
    const EtcdValue value = parsed(hex);
    CHECK(value.provider_name == "mock-kms");
    CHECK(value.object.key_id() == "default/v1/e23984db");
    CHECK(value.object.dek_source_type() == kind);
    const auto opened = open_object(dek_source(), value.object, etcd_key);
    REQUIRE(opened.ok());
    CHECK(text_of(opened->view()) == std::string_view("k8s\0 fixed object", 17));
    CHECK(!open_object(dek_source(), value.object, "/registry/secrets/default/other"));
  }
}

TEST_CASE("no bit of the encrypted data can be changed") {
  for (const std::string& hex : {by_seed, by_key}) {
    EncryptedObject object = parsed(hex).object;
    for (std::size_t i = 0; i < object.encrypted_data().size(); ++i) {
      CAPTURE(i);
      char& byte = (*object.mutable_encrypted_data())[i];
      byte = static_cast<char>(byte ^ 1);
      CHECK(!open_object(dek_source(), object, etcd_key));
      byte = static_cast<char>(byte ^ 1);
    }
  }
}

TEST_CASE("a truncated value is refused, wherever it is cut") {
  const std::string whole = from_hex(by_key);
  const auto message_begins = std::string_view("k8s:enc:kms:v2:mock-kms:").size();
  for (std::size_t size = message_begins; size < whole.size(); ++size) {
    CAPTURE(size);
    const auto outcome = parse_etcd_value(bytes_of(whole).first(size));
    // The last field is the annotations; without them the rest is whole, as protobuf sees it.
    const auto* value = std::get_if<EtcdValue>(&outcome);
    CHECK((std::holds_alternative<Error>(outcome) ||
           (value != nullptr && value->object.annotations().empty())));
  }
}

TEST_CASE("hex, base64 and a key before the value are found out") {
  const std::string value = "k8s:enc:kms:v2:n:\xFF";
  for (const std::string& text : {value, std::string("6b38733a656e633a6b6d733a76323a6e3aff"),
                                  std::string("\\x6b\\x38733a656e633a6b6d733a76323a6e3aff\n"),
                                  std::string("azhzOmVuYzprbXM6djI6bjr/\n"), "/registry/x\n" + value}) {
    CAPTURE(text);
    const auto input = decode_input(text, Encoding::automatic);
    REQUIRE(input.ok());
    CHECK(input->stored == value);
    CHECK(input->etcd_key == (text.starts_with('/') ? "/registry/x" : ""));
  }
}

TEST_CASE("an encoding that is named is taken at its word") {
  const auto stored = [](const std::string& text, Encoding encoding) {
    const auto input = decode_input(text, encoding);
    return !input ? "failure" : input->stored;
  };
  CHECK(stored("6b38", Encoding::raw) == "6b38");
  CHECK(stored("6b38", Encoding::hex) == "k8");
  CHECK(stored("azg=", Encoding::base64) == "k8");
  CHECK(stored("6b3", Encoding::hex) == "failure");
  CHECK(stored("a!g=", Encoding::base64) == "failure");
}

}  // namespace
}  // namespace kms::provider
