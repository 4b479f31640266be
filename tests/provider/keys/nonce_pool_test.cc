#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <set>
#include <thread>
#include <vector>

#include "provider/keys/sealing.h"

namespace kms::provider {
namespace {

using Nonce = std::array<std::uint8_t, 12>;

Nonce drawn() {
  Nonce nonce{};
  draw_nonce(nonce);
  return nonce;
}

TEST_CASE("no nonce is drawn twice, by one thread or by several") {
  constexpr std::size_t each = 2000;  // several fillings of a pool
  std::array<std::vector<Nonce>, 4> drawn_by;
  std::vector<std::thread> threads;
  for (auto& nonces : drawn_by) {
    threads.emplace_back([&nonces] {
      for (std::size_t i = 0; i < each; ++i) nonces.push_back(drawn());
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<Nonce> all;
  for (const auto& nonces : drawn_by) all.insert(nonces.begin(), nonces.end());
  CHECK(all.size() == drawn_by.size() * each);
}

TEST_CASE("a fork does not draw what its parent draws") {
  (void)drawn();  // so that the pool is filled before the fork
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const Nonce nonce = drawn();
    ::_exit(::write(pipe[1], nonce.data(), nonce.size()) == static_cast<ssize_t>(nonce.size()) ? 0 : 1);
  }
  REQUIRE(child > 0);
  Nonce of_child{};
  REQUIRE(::read(pipe[0], of_child.data(), of_child.size()) == static_cast<ssize_t>(of_child.size()));
  int status = 0;
  ::waitpid(child, &status, 0);
  ::close(pipe[0]);
  ::close(pipe[1]);
  CHECK(status == 0);
  CHECK(of_child != drawn());
}

}  // namespace
}  // namespace kms::provider
