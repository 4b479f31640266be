#include "common/net/unix_listener.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <barrier>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

using kms::Endpoint;
using kms::OnLiveSocket;
using kms::Outcome;
using kms::SocketAccess;
using kms::UniqueFd;
using kms::UnixListener;

namespace {

class Directory {
 public:
  Directory() { REQUIRE(::mkdtemp(name_.data()) != nullptr); }
  ~Directory() { std::filesystem::remove_all(name_); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  [[nodiscard]] std::string path(const std::string& name) const { return name_ + "/" + name; }
  [[nodiscard]] Endpoint endpoint(const std::string& name) const { return *Endpoint::parse(path(name)); }

 private:
  std::string name_ = "/tmp/kms-listener-XXXXXX";
};

bool can_connect(const Endpoint& endpoint) {
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto [address, length] = endpoint.address();
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0;
}

/// Leaves a socket at the path as a process does that was killed: bound, and nobody listens.
void leave_stale_socket(const Endpoint& endpoint) {
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto [address, length] = endpoint.address();
  REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0);
}

mode_t mode_of(const std::string& path) {
  struct stat file {};
  REQUIRE(::lstat(path.c_str(), &file) == 0);
  return file.st_mode & 07777;
}

}  // namespace

TEST_CASE("a claimed path listens with its mode and goes away with its owner") {
  const Directory directory;
  const Endpoint endpoint = directory.endpoint("s");
  {
    const auto listener = UnixListener::claim(endpoint, {0640, {}, {}});
    REQUIRE(listener.ok());
    CHECK(can_connect(endpoint));
    CHECK(mode_of(directory.path("s")) == 0640);
    CHECK(std::distance(std::filesystem::directory_iterator(directory.path("")), {}) ==
          1);  // no draft is left
  }
  CHECK_FALSE(std::filesystem::exists(directory.path("s")));
}

TEST_CASE("a stale socket is taken over (rule 8)") {
  const Directory directory;
  leave_stale_socket(directory.endpoint("s"));
  CHECK_FALSE(can_connect(directory.endpoint("s")));
  const auto listener = UnixListener::claim(directory.endpoint("s"));
  CHECK(listener.ok());
  CHECK(can_connect(directory.endpoint("s")));
}

TEST_CASE("a live socket is refused with the name of its holder (rule 8)") {
  const Directory directory;
  const auto first = UnixListener::claim(directory.endpoint("s"));
  REQUIRE(first.ok());
  const auto second = UnixListener::claim(directory.endpoint("s"));
  REQUIRE(!second);
  const std::string line = second.error().line();
  CHECK(line.find("in use by pid " + std::to_string(::getpid()) + " (") != std::string::npos);
  CHECK(can_connect(directory.endpoint("s")));
}

TEST_CASE("an abstract name is claimed once and needs no file") {
  const std::string name = "kms-test-" + std::to_string(::getpid());
  const Endpoint endpoint = *Endpoint::parse("unix:///@" + name);
  const auto first = UnixListener::claim(endpoint);
  REQUIRE(first.ok());
  CHECK(can_connect(endpoint));
  const auto second = UnixListener::claim(endpoint);
  REQUIRE(!second);
  CHECK(second.error().line().find("in use by pid") != std::string::npos);
}

TEST_CASE("a file that is not a socket is left alone, and a missing directory is named") {
  const Directory directory;
  std::ofstream(directory.path("file")) << "precious";
  const auto file = UnixListener::claim(directory.endpoint("file"));
  REQUIRE(!file);
  CHECK(file.error().line().find("is not a socket") != std::string::npos);
  CHECK(std::filesystem::file_size(directory.path("file")) == 8);
  const auto missing = UnixListener::claim(directory.endpoint("no/such/s"));
  REQUIRE(!missing);
  CHECK(missing.error().line().find("create the directory first") != std::string::npos);
}

TEST_CASE("an owner does not remove a socket that replaced its own") {
  const Directory directory;
  {
    const auto first = UnixListener::claim(directory.endpoint("s"));
    REQUIRE(first.ok());
    std::filesystem::remove(directory.path("s"));
    leave_stale_socket(directory.endpoint("s"));
  }
  CHECK(std::filesystem::exists(directory.path("s")));
}

TEST_CASE("a path of the full 107 bytes can be claimed") {
  const Directory directory;
  const std::string name(Endpoint::max_length - directory.path("").size(), 'x');
  const auto listener = UnixListener::claim(directory.endpoint(name));
  CHECK(listener.ok());
  CHECK(can_connect(directory.endpoint(name)));
}

TEST_CASE("modes and owners are read as chmod and chown take them") {
  CHECK(*kms::parse_socket_mode("0660") == 0660);
  CHECK(*kms::parse_socket_mode("600") == 0600);
  for (const char* text : {"", "u+w", "0668", "1777", "-1", "0x600"}) {
    CAPTURE(text);
    const Outcome<mode_t> refused = kms::parse_socket_mode(text);
    CHECK(!refused);
  }
  SocketAccess access;
  CHECK(kms::parse_socket_owner("root:1234", access).ok());
  CHECK(access.user == 0U);
  CHECK(access.group == 1234U);
  CHECK(kms::parse_socket_owner("no-such-user", access).error().cause() == "no such user: 'no-such-user'");
  CHECK_FALSE(kms::parse_socket_owner(":", access).ok());
  CHECK_FALSE(kms::parse_socket_owner("4294967295", access).ok());  // to chown(2) it means "as before"
  CHECK_FALSE(kms::parse_socket_owner(":4294967295", access).ok());
}

TEST_CASE("a listener that leaves during a take-over never removes the successor's socket") {
  const Directory directory;
  const Endpoint endpoint = directory.endpoint("s");
  for (int round = 0; round < 300; ++round) {
    auto first = std::make_unique<Outcome<UnixListener>>(UnixListener::claim(endpoint));
    REQUIRE(first->ok());
    std::barrier both(2);
    std::thread leaver([&] {
      both.arrive_and_wait();
      first.reset();
    });
    both.arrive_and_wait();
    const auto second = UnixListener::claim(endpoint, {}, OnLiveSocket::replace);
    leaver.join();
    REQUIRE(second.ok());
    CHECK(second->in_place());
  }
}

TEST_CASE("a directory that another program keeps locked is a failure that says so") {
  const Directory directory;
  const UniqueFd held(::open(directory.path("").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(::flock(held.get(), LOCK_EX) == 0);
  const auto listener = UnixListener::claim(directory.endpoint("s"));
  REQUIRE(!listener);
  CHECK(listener.error().line().find("another program holds the lock of directory") != std::string::npos);
}
