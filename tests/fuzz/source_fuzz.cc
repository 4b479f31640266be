// The readers of a commit's files take any text: signatures, keys, lists of signers, and CMake's and Go's
// files. They refuse by an Error on one line.
#include "builder/dependencies/cmake.h"
#include "builder/dependencies/go.h"
#include "builder/trust/signature.h"
#include "builder/trust/ssh.h"
#include "tests/fuzz/input.h"

namespace {

using namespace kms::builder;

template <class T>
void expect_good(const kms::Outcome<T>& outcome) {
  if (!outcome) kms::fuzz::expect_good(outcome.error());
}

const AllowedSigners& somebody() {
  static const auto signers = *AllowedSigners::parse(
      "me ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n", "signers");
  return signers;
}

void read_signatures(const std::string& text) {
  expect_good(AllowedSigners::parse(text, "signers"));
  expect_good(SshSignature::parse(text));
  expect_good(SshKey::parse(text));
  for (const char* kind : {"commit", "tag"}) {
    const auto outcome = check_signature(kind, text, somebody());
    kms::fuzz::expect(!outcome, "nothing is signed by a key that nobody has");
    expect_good(outcome);
  }
  const SignedObject tag = split_tag(text);
  kms::fuzz::expect(tag.payload + tag.signature == text, "a tag is its payload and its signature");
  kms::fuzz::expect(split_commit(text).payload.size() <= text.size(), "a commit's payload is a part of it");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text = kms::fuzz::text_of_input(data, size);
  read_signatures(text);
  for (const CMakeReference& reference : cmake_references(text, {"p", "p/sub", "p/sub/cmake"})) {
    kms::fuzz::expect(!reference.path.empty(), "a reference names something");
    kms::fuzz::expect(!reference.path.starts_with('/'), "absolute paths are left out");
  }
  (void)go_directories(text);
  return 0;
}
