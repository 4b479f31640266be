// The requests that a fetch consists of, as bytes for a server. Pure; safe from any thread.
//
// Version 2 by gitprotocol-v2(5), version 0 by gitprotocol-pack(5); each is sent whole, in one write.
#pragma once

#include <string>
#include <vector>

#include "builder/source/server_offer.h"

namespace kms::builder {

/// What a pack shall hold.
struct Wants {
  std::vector<git_oid> ids;
  std::string filter;    ///< as gitrevisions' --filter takes it; "" leaves nothing out
  bool shallow = false;  ///< commits without their parents, where the server can
};

/// Version 2 only: the refs whose names begin with one of `prefixes`.
[[nodiscard]] std::string ls_refs_request(const ServerOffer& offer, const std::vector<std::string>& prefixes);

[[nodiscard]] std::string pack_request(const ServerOffer& offer, const Wants& wants);

/// One line of the answer to ls-refs. Throws Error.
[[nodiscard]] AdvertisedRef parse_ref_line(std::string_view line);

}  // namespace kms::builder
