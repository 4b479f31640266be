// Endpoint is the address of a Unix socket, as Kubernetes' EncryptionConfiguration writes it.
//
// A value; it never touches the file system. Source of the grammar: rule 1 of the KMS v2 contract, and
// unix(7).
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <string>
#include <string_view>
#include <utility>

#include "common/error.h"

namespace kms {

class Endpoint {
 public:
  /// Maximum length of a path or abstract name in bytes: sun_path without its terminating or leading NUL.
  static constexpr std::size_t max_length = sizeof(sockaddr_un::sun_path) - 1;

  /// Reads "unix:///absolute/path", "unix:///@abstract-name" or, for short, "/absolute/path".
  [[nodiscard]] static Outcome<Endpoint> parse(std::string_view text);

  [[nodiscard]] bool abstract() const { return abstract_; }

  /// The path ("/run/kms.sock") or the abstract name without its NUL.
  [[nodiscard]] const std::string& name() const { return name_; }

  /// "unix:///run/kms.sock" or "unix:///@name".
  [[nodiscard]] std::string uri() const;

  /// The address in gRPC's notation: "unix:/run/kms.sock" or "unix-abstract:name".
  [[nodiscard]] std::string grpc_target() const;

  /// The address for bind(2) and connect(2), with its exact length.
  [[nodiscard]] std::pair<sockaddr_un, socklen_t> address() const;

 private:
  Endpoint(bool abstract, std::string name) : abstract_(abstract), name_(std::move(name)) {}

  bool abstract_;
  std::string name_;
};

}  // namespace kms
