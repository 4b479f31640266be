// The two ways in which work here goes wrong, as values that name the cause and the next step.
//
// Failure is an outcome that a caller expects and handles (an endpoint that does not parse, a socket that is
// taken). Error is the environment failing; it is thrown where the system or a C library is touched, and
// caught in main and at the RPC boundary. A text reads "cannot <verb> <object>: <cause>" and holds no secret.
#pragma once

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <variant>

namespace kms {

/// Why something could not be done, and what to do next (empty where nothing is known to help).
struct Failure {
  std::string cause;
  std::string hint;

  /// Both on one line: "cause; hint". Control characters, which a quoted input may hold, become '?'.
  [[nodiscard]] std::string line() const {
    std::string text = hint.empty() ? cause : cause + "; " + hint;
    for (char& c : text) c = static_cast<unsigned char>(c) < ' ' || c == 0x7F ? '?' : c;
    return text;
  }
};

/// What an operation gave, or why it gave nothing.
template <class T>
using Outcome = std::variant<T, Failure>;

/// The Failure of an outcome, or nullptr where there is none.
template <class T>
[[nodiscard]] const Failure* failure_of(const Outcome<T>& outcome) {
  return std::get_if<Failure>(&outcome);
}

/// The environment failed. what() is the cause on one line.
class Error : public std::runtime_error {
 public:
  explicit Error(std::string cause, std::string hint = {})
      : std::runtime_error(Failure{cause, hint}.line()), failure_{std::move(cause), std::move(hint)} {}
  explicit Error(Failure failure) : std::runtime_error(failure.line()), failure_(std::move(failure)) {}

  [[nodiscard]] const Failure& failure() const { return failure_; }

 private:
  Failure failure_;
};

/// The text of an errno value; thread-safe, unlike strerror(3).
[[nodiscard]] inline std::string errno_text(int error) { return std::generic_category().message(error); }

/// Throws "cannot <verb and object>: <text of errno>". Call it at once after the call that set errno.
[[noreturn]] inline void throw_errno(const std::string& verb_and_object, std::string hint = {}) {
  const int error = errno;
  throw Error("cannot " + verb_and_object + ": " + errno_text(error), std::move(hint));
}

}  // namespace kms
