#include "builder/cache/store.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "tests/support/temp_directory.h"

namespace {

namespace fs = std::filesystem;
using kms::builder::BuildCache;
using kms::test::TempDirectory;
using mock_kms::v1::BuildInfo;

BuildInfo record(const std::string& version) {
  BuildInfo info;
  info.mutable_binary()->set_version(version);
  return info;
}

std::string content(const std::optional<kms::builder::CacheHit>& hit) {
  if (!hit) return "nothing";
  std::array<char, 64> buffer{};
  const ssize_t n = ::pread(hit->binary.get(), buffer.data(), buffer.size(), 0);
  return {buffer.data(), static_cast<std::size_t>(n)};
}

/// Moves an entry's last use into the past.
void age(const fs::path& entry, std::chrono::hours by) {
  fs::last_write_time(entry, fs::file_time_type::clock::now() - by);
}

std::size_t files_in(const fs::path& directory) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("a stored binary is found by its key alone, with its record") {
  const TempDirectory directory;
  const BuildCache cache(directory.path() / "cache", 1000);
  CHECK(content(cache.find("k1")) == "nothing");
  cache.store("k1", directory.write("built", "binary 1"), record("1.0"));
  CHECK(content(cache.find("k1")) == "binary 1");
  CHECK(cache.find("k1")->info.binary().version() == "1.0");
  CHECK(cache.holds("k1"));
  CHECK(content(cache.find("k2")) == "nothing");
}

TEST_CASE("a second binary for a key leaves the first one, and nothing else") {
  const TempDirectory directory;
  const BuildCache cache(directory.path() / "cache", 1000);
  cache.store("k1", directory.write("built", "first"), record("1.0"));
  cache.store("k1", directory.write("built", "second"), record("2.0"));
  CHECK(content(cache.find("k1")) == "first");
  CHECK(files_in(directory.path() / "cache") == 1);
}

TEST_CASE("the least recently used entries go first, until all fit") {
  const TempDirectory directory;
  const fs::path entries = directory.path() / "cache" / "entries";
  const BuildCache writer(directory.path() / "cache", 10000);
  for (const char* key : {"k1", "k2", "k3"})
    writer.store(key, directory.write("built", std::string(1000, 'x')), record("1"));
  age(entries / "k1", std::chrono::hours(3));
  age(entries / "k2", std::chrono::hours(2));
  age(entries / "k3", std::chrono::hours(1));
  CHECK(writer.find("k1"));  // used now
  const BuildCache small(directory.path() / "cache", 3500);
  small.store("k4", directory.write("built", std::string(1000, 'x')), record("1"));
  CHECK(small.holds("k1"));
  CHECK_FALSE(small.holds("k2"));
  CHECK(small.holds("k3"));
  CHECK(small.holds("k4"));
}

TEST_CASE("an entry that is evicted while it is read stays readable") {
  const TempDirectory directory;
  const BuildCache cache(directory.path() / "cache", 1000);
  cache.store("k1", directory.write("built", "binary 1"), record("1.0"));
  const auto hit = cache.find("k1");
  BuildCache(directory.path() / "cache", 1).store("k2", directory.write("built", "binary 2"), record("2.0"));
  CHECK_FALSE(cache.holds("k1"));
  CHECK(content(hit) == "binary 1");
}

TEST_CASE("an entry without a record is set aside") {
  const TempDirectory directory;
  const BuildCache cache(directory.path() / "cache", 1000);
  cache.store("k1", directory.write("built", "binary 1"), record("1.0"));
  directory.write("cache/entries/k1/build-info.json", "{");
  CHECK(content(cache.find("k1")) == "nothing");
  CHECK_FALSE(cache.holds("k1"));
}

TEST_CASE("left-overs of killed builders go, those of living ones stay") {
  const TempDirectory directory;
  const BuildCache cache(directory.path() / "cache", 1000);
  directory.write("cache/new.old/binary", "half");
  directory.write("cache/damaged.old/binary", "bad");
  directory.write("cache/new.young/binary", "half");
  for (const char* name : {"new.old", "damaged.old"})
    age(directory.path() / "cache" / name, std::chrono::hours(1));
  cache.store("k1", directory.write("built", "binary 1"), record("1.0"));
  CHECK_FALSE(fs::exists(directory.path() / "cache/new.old"));
  CHECK_FALSE(fs::exists(directory.path() / "cache/damaged.old"));
  CHECK(fs::exists(directory.path() / "cache/new.young"));
}

TEST_CASE("a cache without room, or in no directory, finds and keeps nothing and breaks nothing") {
  const TempDirectory directory;
  const fs::path built = directory.write("built", "binary 1");
  BuildCache(directory.path() / "cache", 0).store("k1", built, record("1.0"));
  CHECK_FALSE(fs::exists(directory.path() / "cache"));
  const BuildCache impossible(built / "below-a-file", 1000);
  impossible.store("k1", built, record("1.0"));
  impossible.remember_source("q", record("1.0"));
  CHECK(content(impossible.find("k1")) == "nothing");
  CHECK(impossible.commits("q").empty());
}

TEST_CASE("a commit's sources are known by what was asked") {
  const TempDirectory directory;
  const BuildCache cache(directory.path() / "cache", 1000);
  BuildInfo info = record("1.0");
  info.set_commit("c1");
  info.set_build_system("go");
  info.add_paths()->set_path("provider");
  cache.remember_source("q1", info);
  CHECK(cache.commits("q1") == std::set<std::string>{"c1"});
  CHECK(cache.commits("q2").empty());
  CHECK(cache.source("c1", "q1")->build_system() == "go");
  CHECK_FALSE(cache.source("c2", "q1"));
  directory.write("cache/sources/c1-q1", "damaged");
  CHECK_FALSE(cache.source("c1", "q1"));
}

TEST_CASE("many builders at once neither lose an entry nor see half of one") {
  const TempDirectory directory;
  const std::string big(200'000, 'x');
  const fs::path built = directory.write("built", big);
  std::vector<std::thread> builders;
  std::atomic<int> torn = 0;
  for (int i = 0; i < 8; ++i) {
    builders.emplace_back([&, i] {
      const BuildCache cache(directory.path() / "cache", 1'000'000);
      for (int round = 0; round < 10; ++round) {
        const std::string key = "k" + std::to_string((i + round) % 7);
        cache.store(key, built, record("1.0"));
        const auto hit = cache.find(key);
        if (hit && fs::file_size("/proc/self/fd/" + std::to_string(hit->binary.get())) != big.size()) ++torn;
      }
    });
  }
  for (std::thread& builder : builders) builder.join();
  CHECK(torn == 0);
  CHECK(files_in(directory.path() / "cache" / "entries") >= 3);
  CHECK(files_in(directory.path() / "cache") == 1);
}
