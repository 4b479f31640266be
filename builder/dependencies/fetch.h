// Fetches what a source needs outside of the paths that were asked for, or refuses it.
//
// Used on one thread.
#pragma once

#include <string>
#include <vector>

#include "builder/compile/recipe.h"
#include "builder/run/progress.h"
#include "builder/source/fetch.h"

namespace kms::builder {

/// What is done about sources that need more than the paths that were asked for.
enum class Closure { fetch, refuse, off };

struct ClosureRequest {
  const FetchRequest& source;  ///< that `fetched` came from
  Closure mode;
  BuildSystem system;
  std::vector<std::string>& paths;  ///< grows by what is needed and there
};

/// Goes on until nothing is missing. What the source names and the commit does not hold is logged and left to
/// the compiler. Throws Error, which names all that is missing where it is refused, and Interrupted.
void fetch_closure(const ClosureRequest& request, Fetched& fetched, const Interruption& interruption,
                   Progress& progress);

}  // namespace kms::builder
