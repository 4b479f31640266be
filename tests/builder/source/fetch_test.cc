// fetch() and fetch_more() against a real git daemon.
#include "builder/source/fetch.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>

#include "builder/checkout/write.h"
#include "tests/support/shell.h"
#include "tests/support/temp_directory.h"

namespace {

namespace fs = std::filesystem;
using namespace kms::builder;
using kms::UniqueFd;
using kms::process::own_environment;

/// git:// on a port that the system chooses: one `git daemon --inetd` per connection, one after the other.
class GitDaemon {
 public:
  explicit GitDaemon(const fs::path& root) : root_(root) {
    listener_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    REQUIRE(::bind(listener_.get(), raw, size) == 0);
    REQUIRE(::listen(listener_.get(), 8) == 0);
    REQUIRE(::getsockname(listener_.get(), raw, &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  GitDaemon(const GitDaemon&) = delete;
  GitDaemon& operator=(const GitDaemon&) = delete;
  ~GitDaemon() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }

  [[nodiscard]] std::string url(const std::string& name) const {
    return "git://127.0.0.1:" + std::to_string(port_) + "/" + name;
  }
  [[nodiscard]] unsigned connections() const { return connections_; }

 private:
  void serve() {
    for (;;) {
      const UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!connection) return;
      ++connections_;
      const int fd = connection.get();
      const pid_t pid =
          kms::process::spawn({{"git", "daemon", "--inetd", "--export-all", "--base-path=" + root_.string()},
                               own_environment(),
                               {fd, fd, -1},
                               {}});
      ::waitpid(pid, nullptr, 0);
    }
  }

  fs::path root_;
  UniqueFd listener_;
  unsigned port_ = 0;
  std::atomic<unsigned> connections_{0};
  std::thread thread_;
};

class Shop {
 public:
  Shop() {
    kms::test::shell(
        directory_.path(),
        "git init -q -b main repo; cd repo; git config user.name t; git config user.email t@example.org; "
        "git config uploadpack.allowFilter true; mkdir -p a/b/c d/e/f other; echo 1 > a/b/c/one; "
        "echo 2 > d/e/f/two; echo 3 > d/e/three; echo 4 > other/four; git add .; git commit -qm all; "
        "git tag -a -m v1 v1");
    fs::create_directory(directory_.path() / "scratch");
    fs::create_directory(directory_.path() / "out");
  }

  [[nodiscard]] FetchRequest request(const std::vector<std::string>& paths) const {
    return {*RepositoryUrl::parse(daemon_.url("repo/.git")), *RefName::parse("v1"),
            directory_.path() / "scratch", paths};
  }

  [[nodiscard]] const GitDaemon& daemon() const { return daemon_; }
  [[nodiscard]] fs::path out() const { return directory_.path() / "out"; }

 private:
  kms::test::TempDirectory directory_;
  GitDaemon daemon_{directory_.path()};
};

Progress progress(false, 80);

}  // namespace

TEST_CASE("further paths come by themselves, and what is there is asked for no more") {
  const Shop shop;
  const Interruption interruption;
  const FetchRequest request = shop.request({"a/b/c"});
  Fetched fetched = fetch(request, interruption, progress);
  CHECK(shop.daemon().connections() == 1);
  const auto [bytes, requests] = std::pair(fetched.bytes, fetched.requests);

  fetch_more(request, {"d/e/f/two", "d/e/three"}, fetched, interruption, progress);
  CHECK(shop.daemon().connections() == 2);
  CHECK(fetched.requests <= requests + 4);  // the advertisement, d, d/e, the files
  CHECK(fetched.bytes > bytes);
  CHECK(fetched.strategy == "v2, three directory levels a request");

  const std::vector<std::string> all{"a/b/c", "d/e/f/two", "d/e/three"};
  fetch_more(request, all, fetched, interruption, progress);
  fetch_more(request, {"no/such/path"}, fetched, interruption, progress);
  CHECK(shop.daemon().connections() == 2);
  CHECK(check_out(fetched.objects.get(), fetched.commit, all, shop.out()).files == 3);
  CHECK(fs::exists(shop.out() / "d/e/f/two"));
}

TEST_CASE("a path that lies above what is there brings the rest of it") {
  const Shop shop;
  const Interruption interruption;
  const FetchRequest request = shop.request({"d/e/f"});
  Fetched fetched = fetch(request, interruption, progress);
  fetch_more(request, {"d"}, fetched, interruption, progress);
  CHECK(check_out(fetched.objects.get(), fetched.commit, {"d"}, shop.out()).files == 2);
  fetch_more(request, {"."}, fetched, interruption, progress);
  const unsigned connections = shop.daemon().connections();
  fetch_more(request, {"."}, fetched, interruption, progress);
  CHECK(shop.daemon().connections() == connections);
}
