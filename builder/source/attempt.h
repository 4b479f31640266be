// An attempt is one try of a fetch from a server, on a thread of its own that can be given up.
//
// Called on one thread, which draws the progress and watches for silence, the deadline and an interruption.
#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <thread>

#include "builder/source/remote.h"

namespace kms::builder {

/// A try failed. passing(): a later one may go well.
class AttemptError : public Error {
 public:
  AttemptError(Error failure, bool passing) : Error(std::move(failure)), passing_(passing) {}
  [[nodiscard]] bool passing() const { return passing_; }

 private:
  bool passing_;
};

class Attempt {
 public:
  using Clock = std::chrono::steady_clock;

  Attempt(std::shared_ptr<FetchState> state, Clock::time_point until, const Interruption& interruption);
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;

  /// Joins the thread, unless it was left alone: then it lives on with the state, in a call that nothing can
  /// end.
  ~Attempt();

  /// Called once. Throws AttemptError, Interrupted.
  [[nodiscard]] Fetched wait(const DrawProgress& draw);

  [[nodiscard]] bool left_alone() const { return left_alone_; }

 private:
  [[nodiscard]] bool silent_too_long();
  void give_up();
  [[noreturn]] void fail(const std::string& cause, const std::string& hint, bool passing);

  std::shared_ptr<FetchState> state_;
  Clock::time_point until_;
  const Interruption& interruption_;
  std::uint64_t last_beats_ = 0;
  Clock::time_point last_sign_ = Clock::now();
  bool left_alone_ = false;
  std::future<Fetched> result_;
  std::thread thread_;
};

}  // namespace kms::builder
