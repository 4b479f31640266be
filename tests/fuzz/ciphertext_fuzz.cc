// AesService::decrypt() takes any request and only ever answers with the plaintext that was encrypted.
#include <fuzzer/FuzzedDataProvider.h>

#include "provider/keys/key_ring.h"
#include "provider/kms/aes_service.h"
#include "tests/fuzz/input.h"

namespace {

using namespace kms;
using namespace kms::provider;

constexpr std::string_view plaintext = "sealed";

struct Plugin {
  Plugin() : keys(published_test_seed(), "default", 1), service(keys) {
    sealed = *service.encrypt("uid", bytes_of(plaintext), {});
  }
  KeyRing keys;
  AesService service;
  EncryptAnswer sealed;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Plugin plugin;
  FuzzedDataProvider input(data, size);
  // Each part is the true one or made up, so that what lies behind the first check is reached.
  const auto part = [&](const std::string& good) {
    return input.ConsumeBool() ? good : input.ConsumeRandomLengthString();
  };
  const std::string key_id = part(plugin.sealed.key_id);
  Annotations annotations;
  if (input.ConsumeBool()) annotations = plugin.sealed.annotations;
  if (input.ConsumeBool()) annotations[input.ConsumeRandomLengthString()] = input.ConsumeRandomLengthString();
  std::string ciphertext = part(plugin.sealed.ciphertext);
  if (!ciphertext.empty() && input.ConsumeBool()) {
    ciphertext[input.ConsumeIntegralInRange<std::size_t>(0, ciphertext.size() - 1)] =
        input.ConsumeIntegral<char>();
  }
  const auto answer = plugin.service.decrypt({bytes_of(ciphertext), key_id, annotations});
  if (!answer) {
    kms::fuzz::expect_good(answer.error());
    return 0;
  }
  kms::fuzz::expect(ciphertext == plugin.sealed.ciphertext && key_id == plugin.sealed.key_id &&
                        annotations == plugin.sealed.annotations,
                    "only what was sealed is opened");
  kms::fuzz::expect(text_of(answer->view()) == plaintext, "and gives what was sealed");
  return 0;
}
