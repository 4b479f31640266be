// fetch_remote() fetches the objects of the wanted paths, and of the directories above them, from a server.
// It fetches as little else as the server allows.
//
// Called on the fetching thread. It writes packs and nothing else.
#pragma once

#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "builder/source/fetch.h"

namespace kms::builder {

/// The ref's objects. They are resolved once per fetch, though the ref may move meanwhile.
struct ResolvedRef {
  git_oid tip{};     ///< perhaps a tag: version 0 gives nothing else by its id
  git_oid commit{};  ///< the object that the tip leads to, as far as the server says
};

/// State that all tries of one fetch share, until a thread that uses it is abandoned. The next try continues
/// from here.
struct FetchState {
  /// `known`: nothing but this commit may be fetched, wherever the ref leads to now.
  FetchState(FetchRequest what, std::vector<std::filesystem::path> where,
             std::optional<ResolvedRef> known = std::nullopt)
      : request(std::move(what)), known_ref(known), directories(std::move(where)), resolved(known) {}

  const FetchRequest request;
  const std::optional<ResolvedRef> known_ref;
  const std::vector<std::filesystem::path> directories;  ///< of the packs; new ones go into the last
  std::optional<ResolvedRef> resolved;                   ///< used by the fetching thread only
  FetchMeter meter;
};

/// Falls back from strategy to strategy until the server can serve one: three levels of directories per
/// request, one level per request, all directories at once, the whole commit without its history, everything.
/// It asks for nothing that the packs hold. Throws Error.
[[nodiscard]] Fetched fetch_remote(FetchState& state);

}  // namespace kms::builder
