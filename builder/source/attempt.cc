#include "builder/source/attempt.h"

#include "builder/source/failure_kinds.h"
#include "builder/source/proxy.h"

namespace kms::builder {
namespace {

using namespace std::chrono_literals;

constexpr auto drawing_interval = 100ms;
constexpr auto cancel_grace = 2s;

/// `text` without a secret that a library may have put there.
std::string without(std::string text, const Secret& secret) {
  const std::string hidden = secret.reveal();
  for (std::size_t at = 0; !hidden.empty() && (at = text.find(hidden, at)) != std::string::npos; at += 3) {
    text.replace(at, hidden.size(), "***");
  }
  return text;
}

/// `text` without what names the server: it may hold any word that failures are told apart by.
std::string without_place(std::string text, const RepositoryUrl& url) {
  const auto remove = [&](const std::string& words) {
    for (std::size_t at = 0; (at = text.find(words, at)) != std::string::npos;) text.erase(at, words.size());
  };
  remove(url.display());
  remove(" " + host_and_port(url.display(), "").host + ":");
  return text;
}

/// What people are told of a failure in the fetching thread.
AttemptError told(const FetchState& state, const Error& failure, int code, bool hung_up) {
  const RepositoryUrl& url = state.request.repository;
  std::string cause = without(url.scrub(failure.cause()), state.request.login.password);
  cause = without_login(std::move(cause), proxy_of_environment(url));
  if (!cause.starts_with("cannot ")) cause = "cannot fetch from " + url.display() + ": " + cause;
  // Some of its TLS libraries have no more to say of it than "Generic error".
  if (code == GIT_ECERTIFICATE && url.kind() == RepositoryUrl::Kind::https &&
      cause.find("certificate") == std::string::npos) {
    cause += " (the server's certificate is refused)";
  }
  const FailureKind kind = failure_kind(code, without_place(cause, url), hung_up);
  return {{cause, failure.next_step().empty() ? kind.hint : failure.next_step()}, kind.passing};
}

bool of_connection(const git::GitError& error) {
  const int kind = error.kind();
  return kind == GIT_ERROR_NET || kind == GIT_ERROR_SSL || kind == GIT_ERROR_HTTP || kind == GIT_ERROR_SSH;
}

/// Runs on the fetching thread.
Fetched fetch_on_thread(FetchState& state) {
  try {
    git::prepare_library();
    state.meter.max_bytes = state.request.limits.bytes;
    if (!state.request.login.ca_file.empty()) git::trust_authorities(state.request.login.ca_file);
    return fetch_remote(state);
  } catch (const git::GitError& error) {
    throw told(state, error, error.code(), state.meter.hung_up && of_connection(error));
  } catch (const Error& error) {
    throw told(state, error, 0, false);
  }
}

}  // namespace

Attempt::Attempt(std::shared_ptr<FetchState> state, Clock::time_point until, const Interruption& interruption)
    : state_(std::move(state)), until_(until), interruption_(interruption) {
  state_->meter.cancelled = false;
  last_beats_ = state_->meter.beats;
  std::packaged_task<Fetched()> work([held = state_] { return fetch_on_thread(*held); });
  result_ = work.get_future();
  thread_ = std::thread(std::move(work));
}

Attempt::~Attempt() { left_alone_ ? thread_.detach() : thread_.join(); }

Fetched Attempt::wait(const DrawProgress& draw) {
  while (result_.wait_for(drawing_interval) != std::future_status::ready) {
    if (interruption_.requested()) {
      give_up();
      throw Interrupted{};
    }
    if (silent_too_long()) {
      fail("the server said nothing for " + human_duration(state_->request.patience),
           "check the server and the network, or raise --fetch-timeout", true);
    }
    if (Clock::now() >= until_) {
      fail("it is not complete after " + human_duration(state_->request.persistence.deadline),
           "check the server and the network, or raise --fetch-deadline", false);
    }
    draw(state_->meter);
  }
  return result_.get();
}

bool Attempt::silent_too_long() {
  const auto beats = state_->meter.beats.load();
  if (beats != last_beats_) last_sign_ = Clock::now();
  last_beats_ = beats;
  return Clock::now() - last_sign_ >= state_->request.patience;
}

void Attempt::give_up() {
  state_->meter.cancelled = true;
  left_alone_ = result_.wait_for(cancel_grace) != std::future_status::ready;
}

void Attempt::fail(const std::string& cause, const std::string& hint, bool passing) {
  give_up();
  throw AttemptError({"cannot fetch from " + state_->request.repository.display() + ": " + cause, hint},
                     passing);
}

}  // namespace kms::builder
