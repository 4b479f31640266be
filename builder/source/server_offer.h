// ServerOffer is what a server says of itself when a connection begins: its protocol and what it can do.
//
// A value; pure; safe from any thread. Version 2 names abilities (gitprotocol-v2(5)); version 0 lists all
// refs, with abilities behind the first (gitprotocol-pack(5)).
#pragma once

#include <git2/oid.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "builder/source/pkt_line.h"

namespace kms::builder {

struct AdvertisedRef {
  std::string name;
  git_oid id{};
  std::optional<git_oid> peeled;  ///< what an annotated tag leads to

  /// What it leads to in the end, by all that the server said.
  [[nodiscard]] const git_oid& target() const { return peeled ? *peeled : id; }
};

struct ServerOffer {
  int version = 0;
  bool filters = false;             ///< leaves objects out of packs
  bool shallow = false;             ///< sends a commit without its history
  bool any_object = false;          ///< gives objects that no ref points to
  bool peel = true;                 ///< v2: says what tags lead to
  bool object_format = false;       ///< v2: wants to hear which kind of ids is meant
  std::vector<AdvertisedRef> refs;  ///< version 0 only

  /// Reads all packets of an advertisement, with or without HTTP's "# service" head. Throws Error for what is
  /// none, for the server's own refusal (ERR), and for repositories of SHA-256, which libgit2 cannot read.
  [[nodiscard]] static ServerOffer read(std::string_view advertisement);
};

/// More than a million refs; what is longer does not end.
inline constexpr std::size_t max_advertisement = std::size_t{256} * 1024 * 1024;

/// Finds the end of an advertisement as it comes, for connections that stay open: a flush packet, after
/// HTTP's head has had its own. Used on one thread.
class AdvertisementEnd {
 public:
  /// The next bytes; true where they complete it. Throws Error where it is not git's protocol, or too long.
  bool add(std::string_view bytes);

 private:
  PktReader packets_;
  std::size_t size_ = 0;
  bool head_ = false;
};

/// Reads 40 hex digits. Throws Error.
[[nodiscard]] git_oid parse_id(std::string_view hex);

}  // namespace kms::builder
