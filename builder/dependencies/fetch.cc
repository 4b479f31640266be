#include "builder/dependencies/fetch.h"

#include <algorithm>

#include "builder/commands/transfer.h"
#include "builder/dependencies/resolve.h"
#include "builder/git/source_tree.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

constexpr std::size_t max_paths =
    500;  ///< that a closure may come to: a source could name others without end

constexpr std::size_t max_named = 50;  ///< in one message

[[noreturn]] void refuse(const std::vector<Need>& needs) {
  std::string list;
  for (std::size_t i = 0; i < std::min(needs.size(), max_named); ++i)
    list += (list.empty() ? "" : ", ") + needs[i].path + " (" + needs[i].why + ")";
  if (needs.size() > max_named) list += " and " + std::to_string(needs.size() - max_named) + " more";
  throw Error("cannot compile without " + list, "give these by --path too, or --dependencies fetch");
}

class ClosureFetch {
 public:
  ClosureFetch(const ClosureRequest& request, Fetched& fetched, const Interruption& interruption,
               Progress& progress)
      : request_(request), fetched_(fetched), interruption_(interruption), progress_(progress) {}

  /// False where nothing was missing.
  bool step() {
    const std::vector<Need> needs = missing();
    if (needs.empty()) return false;
    if (request_.mode == Closure::refuse) refuse(needs);
    if (request_.paths.size() + needs.size() > max_paths)
      throw Error("cannot fetch what the source needs: it names too many directories",
                  "give --dependencies off");
    std::vector<std::string> paths;
    paths.reserve(needs.size());
    for (const Need& need : needs) paths.push_back(need.path);
    transfer_more(request_.source, paths, fetched_, interruption_, progress_);
    const SourceTree tree(fetched_.objects.get(), fetched_.commit);
    for (const Need& need : needs) {
      const bool there = tree.has(need.path);
      (there ? request_.paths : absent_).push_back(need.path);
      log::info(there ? "fetched what the source needs" : "the source names what the commit does not hold",
                {{"path", need.path}, {"why", need.why}});
    }
    return true;
  }

 private:
  [[nodiscard]] std::vector<Need> missing() const {
    const SourceTree tree(fetched_.objects.get(), fetched_.commit);
    std::vector<Need> needs = uncovered_needs(tree, request_.paths, request_.system, interruption_);
    std::erase_if(needs, [&](const Need& need) { return is_covered(need.path, absent_); });
    return needs;
  }

  const ClosureRequest& request_;
  Fetched& fetched_;
  const Interruption& interruption_;
  Progress& progress_;
  std::vector<std::string> absent_;  ///< what was needed and is not in the commit
};

}  // namespace

void fetch_closure(const ClosureRequest& request, Fetched& fetched, const Interruption& interruption,
                   Progress& progress) {
  ClosureFetch closure(request, fetched, interruption, progress);
  while (closure.step()) {
  }
}

}  // namespace kms::builder
