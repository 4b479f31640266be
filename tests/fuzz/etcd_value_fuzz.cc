// decode_input(), parse_etcd_value() and open_object() take any bytes. A value is refused, of another kind,
// or complete, and it opens only under its own key.
#include "provider/inspect/input.h"
#include "provider/inspect/value.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kms;
  using namespace kms::provider;
  if (size == 0) return 0;
  const auto encoding = static_cast<Encoding>(data[0] % 4);
  const auto input = decode_input(kms::fuzz::text_of_input(data + 1, size - 1), encoding);
  if (!input) {
    kms::fuzz::expect_good(input.error());
    return 0;
  }
  const auto parsed = parse_etcd_value(bytes_of(input->stored));
  if (const auto* error = std::get_if<kms::Error>(&parsed)) kms::fuzz::expect_good(*error);
  const auto* value = std::get_if<EtcdValue>(&parsed);
  if (value == nullptr) return 0;
  const auto& object = value->object;
  if (!value->is_v1) {  // in KMS v1, the plugin's ciphertext names the key
    kms::fuzz::expect(!object.key_id().empty() && object.key_id().size() <= 1024, "a value names its key");
  }
  kms::fuzz::expect(!object.encrypted_data().empty(), "a value has data");
  const SecretBytes another_key(32);
  const auto opened = open_object(another_key, object, input->etcd_key);
  kms::fuzz::expect(!opened, "no made-up data opens");
  kms::fuzz::expect_good(opened.error());
  return 0;
}
