// Signatures of real keys, and what is none: changed, cut at every byte, for something else, too old.
#include "builder/trust/signature.h"

#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

#include "builder/trust/ssh.h"
#include "common/process/run.h"
#include "tests/support/shell.h"
#include "tests/support/temp_directory.h"

namespace {

namespace fs = std::filesystem;
using namespace kms::builder;

const std::string head =
    "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor a <a@x> 1700000000 +0000\n"
    "committer c <c@x> 1700000000 +0100\n";

/// A key that ssh-keygen made.
class Signer {
 public:
  explicit Signer(const std::string& kind = "-t ed25519") {
    shell("ssh-keygen -q -N '' -C comment -f key " + kind);
    std::istringstream(read("key.pub")) >> type_ >> base64_;
  }

  /// `text` as a commit that is signed for `name_space`.
  [[nodiscard]] std::string commit(const std::string& name_space = "git",
                                   const std::string& options = "") const {
    const std::string payload = head + "\nmessage\n";
    std::ofstream(directory_.path() / "payload") << payload;
    shell("rm -f payload.sig; ssh-keygen -q -Y sign -f key -n " + name_space + " " + options + " payload");
    std::string folded;
    std::istringstream lines(read("payload.sig"));
    for (std::string line; std::getline(lines, line);)
      folded += (folded.empty() ? "gpgsig " : " ") + line + "\n";
    return head + folded + "\nmessage\n";
  }

  [[nodiscard]] std::string armored() const {
    static_cast<void>(commit());
    return read("payload.sig");
  }
  [[nodiscard]] std::string line(const std::string& options = "") const {
    return "me@x " + options + (options.empty() ? "" : " ") + type_ + " " + base64_ + " comment\n";
  }
  [[nodiscard]] std::string blob() const { return *decode_base64(base64_); }

 private:
  void shell(const std::string& script) const { kms::test::shell(directory_.path(), script); }
  [[nodiscard]] std::string read(const std::string& name) const {
    return kms::test::TempDirectory::read(directory_.path() / name);
  }

  kms::test::TempDirectory directory_;
  std::string type_;
  std::string base64_;
};

AllowedSigners allowed(const std::string& text) {
  auto outcome = AllowedSigners::parse(text, "signers");
  REQUIRE_MESSAGE(outcome.ok(), outcome.error().line());
  return *std::move(outcome);
}

/// "" where the commit is signed as it should be.
std::string refusal(const std::string& commit, const AllowedSigners& signers) {
  const auto outcome = check_signature("commit", commit, signers);
  return outcome.ok() ? "" : outcome.error().cause();
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string unreadable(const std::string& text) {
  const auto outcome = AllowedSigners::parse(text, "signers");
  return outcome.ok() ? "" : outcome.error().cause();
}

/// OpenSSH 10 makes none.
bool makes_dsa_keys() {
  const kms::test::TempDirectory directory;
  const auto end = kms::process::run({{"ssh-keygen", "-q", "-N", "", "-t", "dsa", "-f", "key"},
                                      kms::process::own_environment(),
                                      {},
                                      directory.path(),
                                      true},
                                     {}, [](std::string_view) {});
  return std::get<kms::process::ExitStatus>(end).success();
}

}  // namespace

TEST_CASE("signatures of each kind of key are good, and changed by one bit they are not") {
  for (const char* kind :
       {"-t ed25519", "-t ecdsa -b 256", "-t ecdsa -b 384", "-t ecdsa -b 521", "-t rsa -b 2048"}) {
    CAPTURE(kind);
    const Signer signer(kind);
    const AllowedSigners signers = allowed(signer.line());
    const std::string good = signer.commit();
    CHECK(refusal(good, signers) == "");
    CHECK(refusal(signer.commit("git", "-O hashalg=sha256"), signers) == "");
    const auto outcome = check_signature("commit", good, signers);
    CHECK(outcome->principals == "me@x");
    CHECK(outcome->fingerprint == ssh_fingerprint(signer.blob()));
    std::string changed = good;
    changed.back() = 'x';
    CHECK(contains(refusal(changed, signers), "changed after it was signed"));
    const std::string armored = signer.armored();
    auto signature = *SshSignature::parse(armored);
    const auto key = SshKey::parse(signature.key);
    const std::string bytes = signature.signed_bytes(head + "\nmessage\n");
    CHECK(key->verifies(bytes, signature.signature));
    for (std::size_t at = 0; at < signature.signature.size(); ++at) {
      std::string flipped = signature.signature;
      flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
      CHECK_FALSE(key->verifies(bytes, flipped));
    }
  }
}

TEST_CASE("a key that may not sign is refused with the reason") {
  const Signer signer;
  const std::string commit = signer.commit();
  CHECK(contains(refusal(commit, allowed(Signer().line())), "it is not in signers"));
  CHECK(contains(refusal(commit, allowed("# one\n" + signer.line("namespaces=\"file,email\""))),
                 "line 2 of signers allows it for 'file,email'"));
  CHECK(refusal(commit, allowed(signer.line("namespaces=\"file,g*\""))) == "");
  CHECK(contains(refusal(commit, allowed(signer.line("namespaces=\"*,!git\""))), "and not for 'git'"));
  CHECK(contains(refusal(commit, allowed(signer.line("valid-before=\"20230101\""))), "allows it until "));
  CHECK(contains(refusal(commit, allowed(signer.line("valid-after=20240101Z"))),
                 "allows it from 2024-01-01 00:00:00Z, and this is of 2023-11-14 22:13:20Z"));
  CHECK(refusal(commit, allowed(signer.line(
                            "valid-after=\"20231114221320Z\",valid-before=\"20231114221320Z\""))) == "");
  CHECK(contains(refusal(commit, allowed(signer.line("cert-authority"))), "authority for certificates"));
  CHECK(refusal(commit, allowed(signer.line("valid-before=20200101") + signer.line())) == "");
}

TEST_CASE("a signature that is not for git is refused with the reason") {
  const Signer signer;
  const AllowedSigners signers = allowed(signer.line());
  CHECK(refusal(head + "\nmessage\n", signers) == "it is not signed");
  CHECK(contains(refusal(signer.commit("file"), signers), "signed for 'file' and not for 'git'"));
  CHECK(
      contains(refusal(head + "gpgsig -----BEGIN PGP SIGNATURE-----\n x\n -----END PGP SIGNATURE-----\n\nm\n",
                       signers),
               "is not an SSH signature"));
  CHECK(contains(
      refusal(head + "gpgsig -----BEGIN SSH SIGNATURE-----\n !!\n -----END SSH SIGNATURE-----\n\nm\n",
              signers),
      "malformed"));
  std::string twice = signer.commit();
  twice.insert(twice.find("gpgsig "),
               twice.substr(twice.find("gpgsig "), twice.find("\n\n") + 1 - twice.find("gpgsig ")));
  CHECK(contains(refusal(twice, signers), "malformed"));
}

TEST_CASE("an RSA key that is too weak is refused by name") {
  const Signer weak("-t rsa -b 1024");
  CHECK(contains(refusal(weak.commit(), allowed(weak.line())), "less than 2048"));
}

TEST_CASE("a DSA key is refused by name" * doctest::skip(!makes_dsa_keys())) {
  const Signer dsa("-t dsa");
  CHECK(contains(refusal(dsa.commit(), allowed(dsa.line())), "not supported"));
}

TEST_CASE("an RSA signature by SHA-1 is none") {
  const Signer signer("-t rsa -b 2048");
  auto signature = *SshSignature::parse(signer.armored());
  const auto key = SshKey::parse(signature.key);
  std::string sha1 = signature.signature;
  sha1.replace(0, 16, std::string("\0\0\0\x07ssh-rsa", 11));
  CHECK_FALSE(key->verifies(signature.signed_bytes(head + "\nmessage\n"), sha1));
}

TEST_CASE("garbage is refused and nothing worse, cut at every byte and flipped in every one") {
  for (const char* kind : {"-t ed25519", "-t ecdsa -b 256", "-t rsa -b 2048"}) {
    const Signer signer(kind);
    const AllowedSigners signers = allowed(signer.line());
    const std::string commit = signer.commit();
    const std::string blob = signer.blob();
    const auto signature = *SshSignature::parse(signer.armored());
    for (std::size_t size = 0; size < commit.size(); ++size)
      CHECK(refusal(commit.substr(0, size), signers) != "");
    for (std::size_t size = 0; size < blob.size(); ++size) CHECK(!SshKey::parse(blob.substr(0, size)));
    const auto key = SshKey::parse(blob);
    for (std::size_t size = 0; size < signature.signature.size(); ++size) {
      CHECK_FALSE(key->verifies(signature.signed_bytes("x"), signature.signature.substr(0, size)));
    }
    for (std::size_t at = 0; at < commit.size(); ++at) {
      std::string flipped = commit;
      flipped[at] = static_cast<char>(flipped[at] ^ 0x04);
      CAPTURE(flipped.substr(at > 20 ? at - 20 : 0, 40));
      CHECK(refusal(flipped, signers) != "");
    }
    for (std::size_t at = 0; at < blob.size(); ++at) {
      for (const char byte : {'\xff', '\0', '\x80'}) {
        std::string other = blob;
        other[at] = byte;
        static_cast<void>(SshKey::parse(other));  // a key or a failure
      }
    }
  }
}

TEST_CASE("files of allowed signers are read, and refused by the line's number") {
  const Signer signer;
  const std::string line = signer.line("namespaces=\"git\",valid-after=\"20200101\"");
  CHECK(unreadable("\n  # comment\r\n\t\n" + line + "\"me too\",you " + signer.line().substr(5)) == "");
  for (std::size_t size = 0; size < line.size(); ++size) static_cast<void>(unreadable(line.substr(0, size)));
  CHECK(unreadable("") == "cannot use signers: it allows no signer");
  const std::string bare = signer.line().substr(5);
  for (const std::string& bad : std::vector<std::string>{
           "me", "me ssh-ed25519", "me ssh-ed25519 AAAA", "me ssh-rsa " + bare.substr(12),
           "me valid-after=2020 " + bare, "me valid-before=20201332 " + bare, "me other-option " + bare,
           "me namespaces=\"git " + bare, "me namespaces= " + bare, "me ssh-ed25519 !!!!",
           std::string(20000, 'x')}) {
    CAPTURE(bad);
    CHECK(unreadable("\n" + bad + "\n").starts_with("cannot read line 2 of signers: "));
  }
}

TEST_CASE("base64 has one form for each text") {
  CHECK(decode_base64("QQ==") == "A");
  for (const char* bad : {"QR==", "QQ=", "QQ", "Q===", "QQ==QQ==", "Q Q=", "", "====", "QUI", "QUJ="}) {
    CAPTURE(bad);
    CHECK_FALSE(decode_base64(bad));
  }
}

TEST_CASE("patterns and times are OpenSSH's") {
  CHECK(matches_patterns("git", "git"));
  CHECK(matches_patterns("git", "file,g?t"));
  CHECK(matches_patterns("git", "*"));
  CHECK(matches_patterns("a.b.c", "a*c"));
  CHECK_FALSE(matches_patterns("git", "gi"));
  CHECK_FALSE(matches_patterns("git", "*,!g*"));
  CHECK_FALSE(matches_patterns("git", ""));
  CHECK_FALSE(matches_patterns(std::string(5000, 'a'), "*a*a*a*a*a*a*b"));
  CHECK(signing_time("20240131Z") == 1706659200);
  CHECK(signing_time("202401311200Z") == 1706702400);
  CHECK(signing_time("20240131120001Z") == 1706702401);
  CHECK(signing_time("20240131"));
  for (const char* bad :
       {"", "2024", "20240230Z", "20241301Z", "202401312500Z", "2024013112000", "2024-01-31", "Z"})
    CHECK_FALSE(signing_time(bad));
}

TEST_CASE("a tag's signature is at its end, behind whatever its message quotes") {
  const std::string payload =
      "object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype commit\ntag v1\ntagger t <t@x> 1700000001 "
      "+0000\n\n"
      "about\n-----BEGIN SSH SIGNATURE-----\nquoted\n";
  const std::string signature = "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n";
  const SignedObject tag = split_tag(payload + signature);
  CHECK(tag.payload == payload);
  CHECK(tag.signature == signature);
  CHECK(tag.time == 1700000001);
  CHECK(split_tag("object x\n\nunsigned\n").signature == "");
}
