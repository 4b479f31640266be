#include "provider/keys/key_versions.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "provider/keys/key_ring.h"
#include "tests/support/temp_directory.h"

namespace kms::provider {
namespace {

struct Provider {
  explicit Provider(KeyVersion declared = 1, std::optional<StateFile> file = std::nullopt)
      : keys(published_test_seed(), "blue", declared), versions(keys, std::move(file)) {
    versions.load();
  }
  KeyVersion current() const { return keys.current()->id.version; }
  KeyRing keys;
  KeyVersions versions;
};

Outcome<> rotate(Provider& provider, std::optional<KeyVersion> to = {}, bool force = false) {
  const auto outcome = provider.versions.rotate(to, force);
  return outcome ? Outcome<>{} : outcome.error();
}

TEST_CASE("a rotation goes to the next version, or to the one that is named, and once") {
  Provider provider;
  CHECK(rotate(provider).ok());
  CHECK(provider.current() == 2);
  CHECK(rotate(provider, 7).ok());
  CHECK(rotate(provider, 7).ok());
  CHECK(provider.current() == 7);
  CHECK(provider.versions.state().uses_size() == 3);
}

TEST_CASE("an earlier version is refused without force, and the next one is above all earlier ones") {
  Provider provider;
  CHECK(rotate(provider, 5).ok());
  CHECK(rotate(provider, 3).error().cause() == "version 3 is not above 5, the highest that was current");
  CHECK(provider.current() == 5);
  CHECK(rotate(provider, 3, true).ok());
  CHECK(provider.current() == 3);
  CHECK(rotate(provider).ok());
  CHECK(provider.current() == 6);
}

TEST_CASE("version 0 and a version above the last one do not exist") {
  Provider provider;
  CHECK_FALSE(rotate(provider, 0).ok());
  CHECK(rotate(provider, 4294967295U).ok());
  CHECK(rotate(provider).error().cause() == "there is no version above 4294967295");
}

TEST_CASE("the last 64 of thousands of rotations are remembered") {
  Provider provider;
  for (int i = 0; i < 2000; ++i) CHECK(rotate(provider).ok());
  const auto state = provider.versions.state();
  CHECK(state.uses_size() == 64);
  CHECK(state.uses(0).version() == 2001);
  CHECK(state.uses(0).current());
  CHECK(!state.uses(1).current());
}

TEST_CASE("the version survives in the state directory, and a declared one above it is taken") {
  const kms::test::TempDirectory directory;
  const auto kept = [&] { return StateFile(directory.path() / "state", "blue"); };
  {
    Provider provider(1, kept());
    CHECK(rotate(provider, 4).ok());
  }
  CHECK(Provider(1, kept()).current() == 4);
  CHECK(Provider(9, kept()).current() == 9);
  Provider again(1, kept());
  CHECK(again.current() == 9);
  CHECK(again.versions.state().uses_size() == 3);
}

TEST_CASE("a process continues from the version that another one stored meanwhile") {
  const kms::test::TempDirectory directory;
  const auto kept = [&] { return StateFile(directory.path(), "blue"); };
  Provider standby(1, kept());
  Provider serving(1, kept());
  CHECK(rotate(serving).ok());
  standby.versions.load();
  CHECK(standby.current() == 2);
}

TEST_CASE("a forced step back by another process is loaded too") {
  const kms::test::TempDirectory directory;
  const auto kept = [&] { return StateFile(directory.path(), "blue"); };
  Provider serving(1, kept());
  CHECK(rotate(serving, 5).ok());
  Provider standby(1, kept());
  CHECK(standby.current() == 5);
  CHECK(serving.versions.rotate(3, true).ok());
  standby.versions.load();
  CHECK(standby.current() == 3);
}

TEST_CASE("a process acquires the versions when the previous one releases them, with all its rotations") {
  const kms::test::TempDirectory directory;
  const auto kept = [&] { return StateFile(directory.path(), "blue"); };
  Provider next(1, kept());
  Provider serving(1, kept());
  serving.versions.acquire();
  std::thread ending([&] {
    CHECK(rotate(serving).ok());
    serving.versions.release();
  });
  next.versions.acquire();
  ending.join();
  CHECK(next.current() == 2);
}

TEST_CASE("a process that hangs does not keep the next one waiting") {
  const kms::test::TempDirectory directory;
  Provider hung(4, StateFile(directory.path(), "blue"));
  hung.versions.acquire();
  Provider next(1, StateFile(directory.path(), "blue"));
  next.versions.acquire();
  CHECK(next.current() == 4);
}

TEST_CASE("with another seed the state's key ids are that seed's") {
  const kms::test::TempDirectory directory;
  std::ofstream(directory.path() / "blue.json")
      << R"({"instance":"blue","current":4,"highest":4,"uses":[{"version":4,"keyId":"blue/v4/00000000","current":true}]})";
  Provider provider(1, StateFile(directory.path(), "blue"));
  CHECK(provider.versions.state().uses(0).key_id() == provider.keys.current()->id_text);
  std::ofstream(directory.path() / "blue.json") << R"({"instance":"blue","current":6,"highest":6})";
  Provider without(1, StateFile(directory.path(), "blue"));
  REQUIRE(without.versions.state().uses_size() == 1);
  CHECK(without.versions.state().uses(0).version() == 6);
}

TEST_CASE("a damaged state file is renamed and not trusted") {
  const std::string good = R"({"instance":"blue","current":4,"highest":4})";
  for (const std::string& content :
       {std::string(), std::string("{"), good.substr(0, 20), std::string(70'000, 'x'),
        std::string(R"({"instance":"red","current":4,"highest":4})"),
        std::string(R"({"instance":"blue","current":0,"highest":4})"),
        std::string(R"({"instance":"blue","current":4,"highest":3})"),
        std::string(
            R"({"instance":"blue","current":4,"highest":4,"uses":[{"keyId":"blue/v0/00000000"}]})")}) {
    CAPTURE(content.substr(0, 60));
    const kms::test::TempDirectory directory;
    std::ofstream(directory.path() / "blue.json") << content;
    CHECK(Provider(2, StateFile(directory.path(), "blue")).current() == 2);
    int damaged = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
      damaged += entry.path().filename().string().starts_with("blue.json.damaged-") ? 1 : 0;
    }
    CHECK(damaged == 1);
    CHECK(Provider(1, StateFile(directory.path(), "blue")).current() == 2);
  }
}

TEST_CASE("a FIFO or directory in the state file's place is renamed, and is not waited for") {
  const kms::test::TempDirectory directory;
  REQUIRE(::mkfifo((directory.path() / "blue.json").c_str(), 0600) == 0);
  CHECK(Provider(2, StateFile(directory.path(), "blue")).current() == 2);
  const kms::test::TempDirectory other;
  std::filesystem::create_directory(other.path() / "blue.json");
  CHECK(Provider(3, StateFile(other.path(), "blue")).current() == 3);
  CHECK(Provider(1, StateFile(other.path(), "blue")).current() == 3);
}

TEST_CASE("a rotation that cannot be stored does not happen") {
  const kms::test::TempDirectory directory;
  Provider provider(1, StateFile(directory.path() / "state", "blue"));
  std::filesystem::remove_all(directory.path() / "state");
  CHECK_THROWS_AS((void)rotate(provider), Error);
  CHECK(provider.current() == 1);
  CHECK(provider.versions.state().current() == 1);
}

}  // namespace
}  // namespace kms::provider
