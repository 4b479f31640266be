// The way from a server: the objects of the wanted paths and of the directories above them, as little else as
// the server can be talked into.
//
// Called on the fetching thread. It writes a bare repository and nothing else.
#pragma once

#include <optional>

#include "builder/source/fetch.h"

namespace kms::builder {

/// What a ref stands for, once for the whole fetch, though it may move meanwhile.
struct ResolvedRef {
  git_oid tip{};     ///< perhaps a tag: version 0 gives nothing else by its id
  git_oid commit{};  ///< what that leads to, as far as the server says
};

/// What is known and was done so far; a further try goes on from here.
struct FetchState {
  FetchState(FetchRequest what, std::filesystem::path where)
      : request(std::move(what)), repository(std::move(where)) {}

  FetchRequest request;
  std::filesystem::path repository;  ///< bare; made where it is missing
  std::optional<ResolvedRef> resolved;
  FetchMeter meter;
};

/// Goes down the rungs of a ladder, as far as the server makes it: three levels of directories per request,
/// one level per request, all directories at once, the whole commit; without its history where the server
/// can. Asks for nothing that the repository holds. Throws Error.
[[nodiscard]] Fetched fetch_remote(FetchState& state);

}  // namespace kms::builder
