#include "common/net/http_server.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>

namespace {

std::atomic<int> accept_error = 0;  ///< 0: the kernel answers
std::atomic<int> accepts = 0;

}  // namespace

/// Replaces the C library's in this program: the kernel runs out of memory for nobody.
extern "C" int accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
  ++accepts;
  if (accept_error != 0) {
    errno = accept_error;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_accept4, fd, address, size, flags));
}

TEST_CASE("a server that lacks descriptors or memory for a connection waits instead of spinning") {
  const kms::HttpServer server({"127.0.0.1", "0"}, false, {{"/", [] { return kms::HttpResponse{"ok"}; }}});
  const int port = std::stoi(server.url().substr(server.url().rfind(':') + 1));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (const int error : {EMFILE, ENFILE, ENOMEM, ENOBUFS}) {
    CAPTURE(error);
    accept_error = error;
    const kms::UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    while (accepts == 0) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    CHECK(accepts <= 2);
    accept_error = 0;
    const std::string request = "GET / HTTP/1.1\r\n\r\n";
    CHECK(::send(client.get(), request.data(), request.size(), MSG_NOSIGNAL) > 0);
    char byte = 0;
    CHECK(::recv(client.get(), &byte, 1, 0) == 1);  // it is served once there is room again
    accepts = 0;
  }
}
