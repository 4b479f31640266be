#include "builder/source/fetch.h"

#include <memory>
#include <optional>

#include "builder/source/attempt.h"
#include "builder/source/back_off.h"
#include "builder/source/known_hosts.h"
#include "builder/source/local.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

using Clock = Attempt::Clock;

/// Tries until it goes well, cannot go well, or must end.
class PersistentFetch {
 public:
  PersistentFetch(std::shared_ptr<FetchState> state, const Interruption& interruption)
      : state_(std::move(state)), interruption_(interruption), persistence_(state_->request.persistence) {}

  Fetched run(const DrawProgress& draw) {
    for (unsigned tries = 1;; ++tries) {
      Attempt attempt(state_, end_, interruption_);
      try {
        return attempt.wait(draw);
      } catch (const AttemptError& error) {
        wait_after(error, tries);
      }
      if (attempt.left_alone()) start_anew(tries);
    }
  }

 private:
  /// The state belongs to the thread that was left alone, and so does its directory.
  void start_anew(unsigned tries) {
    const std::string directory = "source-" + std::to_string(tries) + ".git";
    auto state = std::make_shared<FetchState>(state_->request, state_->request.scratch / directory);
    state->meter.bytes = state_->meter.bytes.load();
    state->meter.requests = state_->meter.requests.load();
    state_ = std::move(state);
  }

  /// Throws where there is to be no further try.
  void wait_after(const AttemptError& error, unsigned tries) {
    const Duration wait = back_off_.next();
    if (!error.passing() || tries > persistence_.retries || Clock::now() + wait >= end_) {
      const std::string count = tries > 1 ? " (tried " + std::to_string(tries) + " times)" : "";
      throw Error(error.cause() + count, error.next_step());
    }
    log::warning("trying the fetch again", {{"cause", error.cause()},
                                            {"wait", human_duration(wait)},
                                            {"try", tries + 1},
                                            {"of", persistence_.retries + 1}});
    interruption_.wait_for(wait);
  }

  std::shared_ptr<FetchState> state_;
  const Interruption& interruption_;
  Persistence persistence_;
  Clock::time_point end_ = Clock::now() + persistence_.deadline;
  BackOff back_off_;
};

Fetched fetch_from_server(std::shared_ptr<FetchState> state, const Interruption& interruption,
                          const DrawProgress& draw) {
  const FetchRequest& request = state->request;
  std::optional<KnownHosts> known_hosts;
  if (request.repository.kind() == RepositoryUrl::Kind::ssh && !request.login.known_hosts.empty()) {
    known_hosts.emplace(request.login.known_hosts, request.scratch);
  }
  return PersistentFetch(std::move(state), interruption).run(draw);
}

}  // namespace

Fetched fetch(const FetchRequest& request, const Interruption& interruption, const DrawProgress& draw) {
  Fetched fetched =
      request.repository.kind() == RepositoryUrl::Kind::local
          ? open_local(request)
          : fetch_from_server(std::make_shared<FetchState>(request, request.scratch / "source.git"),
                              interruption, draw);
  if (request.signers) {
    fetched.signature = required_signature(
        fetched.objects.get(), {fetched.tip, fetched.commit, request.ref.tag_name()}, *request.signers);
  }
  return fetched;
}

void fetch_more(const FetchRequest& request, const std::vector<std::string>& paths, Fetched& fetched,
                const Interruption& interruption, const DrawProgress& draw) {
  if (request.repository.kind() == RepositoryUrl::Kind::local) return;  // all of it is in reach
  auto state = std::make_shared<FetchState>(request, git_repository_path(fetched.objects.get()));
  state->request.paths = paths;
  state->resolved = ResolvedRef{fetched.tip, fetched.commit};
  state->meter.bytes = fetched.bytes;
  state->meter.requests = fetched.requests;
  Fetched more = fetch_from_server(std::move(state), interruption, draw);
  more.strategy = fetched.strategy;
  more.signature = fetched.signature;
  fetched = std::move(more);
}

}  // namespace kms::builder
