#include "common/net/endpoint.h"

#include <doctest/doctest.h>

#include <cstddef>

using kms::Endpoint;

namespace {

Endpoint parsed(const std::string& text) { return *Endpoint::parse(text); }

std::string refusal(const std::string& text) {
  const auto outcome = Endpoint::parse(text);
  return outcome.ok() ? "accepted" : outcome.error().line();
}

}  // namespace

TEST_CASE("an endpoint is a Unix path or an abstract name") {
  CHECK(parsed("unix:///run/kms.sock").name() == "/run/kms.sock");
  CHECK_FALSE(parsed("unix:///run/kms.sock").abstract());
  CHECK(parsed("/run/kms.sock").uri() == "unix:///run/kms.sock");
  CHECK(parsed("unix:///@kms").abstract());
  CHECK(parsed("unix:///@kms").name() == "kms");
  CHECK(parsed("unix:///@kms").uri() == "unix:///@kms");
}

TEST_CASE("gRPC's target encodes what its URI parser would decode") {
  CHECK(parsed("unix:///run/a b%20c").grpc_target() == "unix:/run/a%20b%2520c");
  CHECK(parsed("unix:///@kms-1").grpc_target() == "unix-abstract:kms-1");
}

TEST_CASE("an abstract address has its exact length and no terminating NUL") {
  const auto [address, length] = parsed("unix:///@kms").address();
  CHECK(length == offsetof(sockaddr_un, sun_path) + 4);
  CHECK(address.sun_path[0] == '\0');
  CHECK(address.sun_path[1] == 'k');
}

TEST_CASE("a malformed endpoint is refused with the reason") {
  CHECK(refusal("").find("is empty") != std::string::npos);
  CHECK(refusal("tcp://127.0.0.1:1").find("not a Unix socket address") != std::string::npos);
  CHECK(refusal("unix://kms.sock").find("'/' must follow") != std::string::npos);
  CHECK(refusal("unix:///").find("names no socket") != std::string::npos);
  CHECK(refusal("unix:///@").find("names no socket") != std::string::npos);
  CHECK(refusal("unix:///run/").find("directory") != std::string::npos);
  CHECK(refusal(std::string("/a\nb")).find("control character") != std::string::npos);
}

TEST_CASE("an address of 107 bytes fits and one of 108 does not") {
  const std::string fits = "/" + std::string(106, 'x');
  CHECK(parsed(fits).name() == fits);
  CHECK(refusal(fits + "x").find("108 bytes long") != std::string::npos);
}
