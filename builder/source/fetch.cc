#include "builder/source/fetch.h"

#include <algorithm>
#include <future>
#include <thread>

#include "builder/source/diagnosis.h"
#include "builder/source/local.h"
#include "builder/source/remote.h"
#include "common/log/log.h"
#include "common/retry/backoff.h"

namespace kms::builder {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto drawing_interval = 100ms;
constexpr auto cancel_grace = 2s;
constexpr auto first_wait = 500ms;
constexpr auto max_wait = 30s;

/// Runs on the fetching thread.
Fetched fetch_on_thread(FetchState& state) {
  try {
    state.meter.max_bytes = state.request.limits.bytes;
    return fetch_remote(state);
  } catch (const FetchError& error) {
    throw describe(state.request, error);
  } catch (const git::GitError& error) {
    throw describe(state.request, Error(error.cause()), error.code());
  } catch (const Error& error) {
    throw describe(state.request, error, 0);
  }
}

/// One try of a fetch, on a thread of its own. The caller's thread watches it.
class Attempt {
 public:
  Attempt(std::shared_ptr<FetchState> state, Clock::time_point deadline, const Interruption& interruption)
      : state_(std::move(state)), deadline_(deadline), interruption_(interruption) {
    state_->meter.cancelled = false;
    state_->meter.retry_after = 0;
    last_activity_ = state_->meter.activity;
    std::packaged_task<Fetched()> work([held = state_] { return fetch_on_thread(*held); });
    result_ = work.get_future();
    thread_ = std::thread(std::move(work));
  }
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;

  /// An abandoned thread lives on with the state, in a call that nothing can end.
  ~Attempt() { abandoned_ ? thread_.detach() : thread_.join(); }

  /// Called once. Throws FetchError, Interrupted.
  [[nodiscard]] Fetched wait(Progress& progress) {
    while (result_.wait_for(drawing_interval) != std::future_status::ready) {
      if (interruption_.requested()) {
        cancel();
        throw Interrupted{};
      }
      if (idle_too_long()) {
        fail("the server said nothing for " + human_duration(state_->request.idle_timeout),
             "check the server and the network, or raise --fetch-timeout", true);
      }
      if (Clock::now() >= deadline_) {
        fail("it is not complete after " + human_duration(state_->request.retry.deadline),
             "check the server and the network, or raise --fetch-deadline", false);
      }
      const FetchMeter& meter = state_->meter;
      progress.update("fetch", meter.objects, meter.objects_total, human_bytes(meter.bytes));
    }
    return result_.get();
  }

  [[nodiscard]] bool abandoned() const { return abandoned_; }

 private:
  [[nodiscard]] bool idle_too_long() {
    const auto activity = state_->meter.activity.load();
    if (activity != last_activity_) active_at_ = Clock::now();
    last_activity_ = activity;
    return Clock::now() - active_at_ >= state_->request.idle_timeout;
  }

  void cancel() {
    state_->meter.cancelled = true;
    abandoned_ = result_.wait_for(cancel_grace) != std::future_status::ready;
  }

  [[noreturn]] void fail(const std::string& cause, const std::string& next_step, bool transient) {
    cancel();
    throw FetchError({"cannot fetch from " + state_->request.repository.display() + ": " + cause, next_step},
                     transient);
  }

  std::shared_ptr<FetchState> state_;
  Clock::time_point deadline_;
  const Interruption& interruption_;
  std::uint64_t last_activity_ = 0;
  Clock::time_point active_at_ = Clock::now();
  bool abandoned_ = false;
  std::future<Fetched> result_;
  std::thread thread_;
};

/// Tries until a try succeeds, no further one can, or the deadline has come.
class RetryingFetch {
 public:
  RetryingFetch(std::shared_ptr<FetchState> state, const Interruption& interruption)
      : state_(std::move(state)), interruption_(interruption), policy_(state_->request.retry) {}

  Fetched run(Progress& progress) {
    for (unsigned tries = 1;; ++tries) {
      Attempt attempt(state_, deadline_, interruption_);
      try {
        return attempt.wait(progress);
      } catch (const FetchError& error) {
        wait_after(error, tries);
      }
      if (attempt.abandoned()) replace_state();
    }
  }

 private:
  /// The abandoned thread keeps the state, and may still write to its directory. What is whole there is used.
  void replace_state() {
    std::vector<std::filesystem::path> directories = state_->directories;
    directories.push_back(state_->request.scratch / ("packs-" + std::to_string(directories.size() + 1)));
    auto state = std::make_shared<FetchState>(state_->request, std::move(directories), state_->known_ref);
    state->meter.bytes = state_->meter.bytes.load();
    state->meter.requests = state_->meter.requests.load();
    state_ = std::move(state);
  }

  [[nodiscard]] Duration next_wait() {
    return std::max<Duration>(backoff_.next(), std::chrono::seconds(state_->meter.retry_after));
  }

  /// Throws if there is no further try.
  void wait_after(const FetchError& error, unsigned tries) {
    const Duration wait = next_wait();
    if (!error.transient() || tries > policy_.retries || Clock::now() + wait >= deadline_) {
      std::string cause = error.cause();
      if (tries > 1) cause += " (tried " + std::to_string(tries) + " times)";
      if (state_->meter.retry_after > 0) cause += " (the server asks to wait " + human_duration(wait) + ")";
      throw Error(cause, error.next_step());
    }
    log::warning("trying the fetch again", {{"cause", error.cause()},
                                            {"wait", human_duration(wait)},
                                            {"try", tries + 1},
                                            {"of", policy_.retries + 1}});
    interruption_.wait_for(wait);
  }

  std::shared_ptr<FetchState> state_;
  const Interruption& interruption_;
  RetryPolicy policy_;
  Clock::time_point deadline_ = Clock::now() + policy_.deadline;
  Backoff backoff_{first_wait, max_wait, std::random_device{}()};
};

Fetched fetch_from_server(std::shared_ptr<FetchState> state, const Interruption& interruption,
                          Progress& progress) {
  const FetchRequest& request = state->request;
  std::optional<KnownHosts> known_hosts;
  if (request.repository.kind() == RepositoryUrl::Kind::ssh && !request.login.known_hosts.empty()) {
    known_hosts.emplace(request.login.known_hosts, request.scratch);
  }
  return RetryingFetch(std::move(state), interruption).run(progress);
}

void log_result(const Fetched& fetched, Duration duration) {
  log::info("fetched", {{"commit", git::hex(fetched.commit)},
                        {"strategy", fetched.strategy},
                        {"bytes", fetched.bytes},
                        {"requests", fetched.requests},
                        {"duration", human_duration(duration)}});
  if (!fetched.signature) return;
  log::info("signed", {{"object", fetched.signature->object},
                       {"by", fetched.signature->principals},
                       {"key", fetched.signature->fingerprint}});
}

}  // namespace

Fetched fetch(const FetchRequest& request, const Interruption& interruption, Progress& progress) {
  const auto begin = Clock::now();
  log::info("fetching", {{"repository", request.repository.display()},
                         {"ref", request.ref.text()},
                         {"pinned", request.ref.is_commit_id() || !request.pin.empty()}});
  Fetched fetched =
      request.repository.kind() == RepositoryUrl::Kind::local
          ? open_local(request)
          : fetch_from_server(std::make_shared<FetchState>(request, std::vector{request.scratch}),
                              interruption, progress);
  if (request.signers) {
    fetched.signature = required_signature(
        fetched.objects.get(), {fetched.tip, fetched.commit, request.ref.tag_name()}, *request.signers);
  }
  progress.clear();
  log_result(fetched, Clock::now() - begin);
  return fetched;
}

void fetch_more(const FetchRequest& request, const std::vector<std::string>& paths, Fetched& fetched,
                const Interruption& interruption, Progress& progress) {
  FetchRequest more = request;
  more.paths = paths;
  if (request.repository.kind() == RepositoryUrl::Kind::local) return require_local_objects(more, fetched);
  auto state = std::make_shared<FetchState>(std::move(more), fetched.directories,
                                            ResolvedRef{fetched.tip, fetched.commit});
  state->meter.bytes = fetched.bytes;
  state->meter.requests = fetched.requests;
  Fetched result = fetch_from_server(std::move(state), interruption, progress);
  progress.clear();
  result.strategy = fetched.strategy;
  result.signature = fetched.signature;
  fetched = std::move(result);
}

void record_request(const FetchRequest& request, const std::string& commit, mock_kms::v1::BuildInfo& info) {
  info.set_repository(request.repository.display());
  info.set_ref(request.ref.text());
  info.set_commit(commit);
  info.set_builder_version(KMS_VERSION);
}

void record_transfer(const Fetched& fetched, mock_kms::v1::BuildInfo& info) {
  info.mutable_transfer()->set_strategy(fetched.strategy);
  info.mutable_transfer()->set_bytes(static_cast<std::uint32_t>(
      std::min<std::uint64_t>(fetched.bytes, std::numeric_limits<std::uint32_t>::max())));
  info.mutable_transfer()->set_requests(fetched.requests);
  if (!fetched.signature) return;
  info.mutable_signature()->set_object(fetched.signature->object);
  info.mutable_signature()->set_principals(fetched.signature->principals);
  info.mutable_signature()->set_fingerprint(fetched.signature->fingerprint);
}

git_oid peel_to_commit(git_repository* repository, const git_oid& id, const FetchRequest& request) {
  const std::string& name = request.ref.text();
  const auto object =
      git::find<git::Object>("read " + name, git_object_lookup, repository, &id, GIT_OBJECT_ANY);
  if (!object) throw Error(request.ref.not_found(request.repository.display(), {}));
  git_object* commit = nullptr;
  if (git_object_peel(&commit, object.get(), GIT_OBJECT_COMMIT) < 0) {
    throw Error("cannot use " + name + ": it is a " + git_object_type2string(git_object_type(object.get())) +
                    " and leads to no commit",
                "give a branch, a tag of a commit or a commit's id by --ref");
  }
  return *git_object_id(git::Object(commit).get());
}

void require_pinned(const FetchRequest& request, const git_oid& commit) {
  const std::string id = git::hex(commit);
  if (request.pin.empty() || request.pin == id) return;
  throw Error("cannot use " + request.ref.text() + " of " + request.repository.display() + ": it is commit " +
                  id + ", and --commit demands " + request.pin,
              "find out why it moved; give --ref " + request.pin + " to fetch the pinned commit itself");
}

}  // namespace kms::builder
