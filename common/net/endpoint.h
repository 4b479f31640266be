// Endpoint is the grammar of the addresses on which plugins and supervisors listen.
//
// A value, safe from any thread; it never touches the file system. Source of the grammar: the KMS v2 contract
// (rule 1, Kubernetes' EncryptionConfiguration `endpoint`) and unix(7).
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
  /// The longest path or abstract name in bytes: sun_path less its terminating or leading NUL.
  static constexpr std::size_t longest = sizeof(sockaddr_un::sun_path) - 1;

  /// Reads "unix:///absolute/path", "unix:///@abstract-name" or, for short, "/absolute/path".
  [[nodiscard]] static Outcome<Endpoint> parse(std::string_view text);

  [[nodiscard]] bool abstract() const { return abstract_; }

  /// The path ("/run/kms.sock") or the abstract name without its NUL.
  [[nodiscard]] const std::string& name() const { return name_; }

  /// "unix:///run/kms.sock" or "unix:///@name", as an EncryptionConfiguration has it.
  [[nodiscard]] std::string uri() const;

  /// The same address in gRPC's own naming: "unix:/run/kms.sock" or "unix-abstract:name".
  [[nodiscard]] std::string grpc_target() const;

  /// The address for bind(2) and connect(2), with its exact length.
  [[nodiscard]] std::pair<sockaddr_un, socklen_t> address() const;

 private:
  Endpoint(bool abstract, std::string name) : abstract_(abstract), name_(std::move(name)) {}

  bool abstract_;
  std::string name_;
};

}  // namespace kms
