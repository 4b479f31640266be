// Error names what failed, its cause and the next step. Outcome<T> is a value or an Error.
//
// An outcome that a caller expects (an endpoint that does not parse, a socket in use) is returned as an
// Outcome. A failure of the environment is thrown as an Error where the system or a C library is called; main
// and the RPC boundary catch it. The text reads "cannot VERB OBJECT: CAUSE" and holds no secret.
#pragma once

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

namespace kms {

/// The kind of failure. cli/exit_code.h maps it to the program's exit code.
enum class ErrorCode {
  failed,
  invalid_input,  ///< an option, an argument or an input file is wrong
  unreachable,    ///< nothing answers on the socket
  not_found,      ///< the named object does not exist
};

/// True if the byte is part of a control character: of ASCII's, or of U+0080 to U+009F in UTF-8, which some
/// terminals obey too.
[[nodiscard]] inline bool is_control(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; };
  const auto is_high = [&](std::size_t lead) {
    return byte(lead) == 0xC2 && byte(lead + 1) >= 0x80 && byte(lead + 1) <= 0x9F;
  };
  return byte(at) < ' ' || byte(at) == 0x7F || is_high(at) || (at > 0 && is_high(at - 1));
}

/// Keeps text of unknown origin on one line, and a terminal from obeying it.
[[nodiscard]] inline std::string without_controls(std::string_view text, char replacement) {
  std::string clean(text);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_control(text, i)) clean[i] = replacement;
  }
  return clean;
}

class Error : public std::runtime_error {
 public:
  explicit Error(std::string cause) : Error(std::move(cause), "") {}

  /// `next_step` is empty if no step is known to help.
  Error(std::string cause, std::string next_step, ErrorCode code = ErrorCode::failed)
      : std::runtime_error(join(cause, next_step)),
        cause_(std::move(cause)),
        next_step_(std::move(next_step)),
        code_(code) {}

  [[nodiscard]] const std::string& cause() const { return cause_; }
  [[nodiscard]] const std::string& next_step() const { return next_step_; }
  [[nodiscard]] ErrorCode code() const { return code_; }

  /// "cause; next step" on one line. Control characters of quoted input become '?'.
  [[nodiscard]] std::string line() const { return what(); }

  /// The same error as part of something larger: "--socket-mode: cause".
  [[nodiscard]] Error within(const std::string& context) const {
    return Error(context + ": " + cause_, next_step_, code_);
  }

  /// The same error with another code.
  [[nodiscard]] Error with(ErrorCode code) const { return Error(cause_, next_step_, code); }

 private:
  [[nodiscard]] static std::string join(const std::string& cause, const std::string& next_step) {
    return without_controls(next_step.empty() ? cause : cause + "; " + next_step, '?');
  }

  std::string cause_;
  std::string next_step_;
  ErrorCode code_;
};

/// The value of an operation, or the Error that explains why there is none. Reading the value of a failed
/// outcome throws its Error.
template <class T = void>
class [[nodiscard]] Outcome {
 public:
  // Implicit, so that a function returns a value or an Error as it is.
  template <class U = T>
  requires std::constructible_from<T, U&&> &&
      (!std::derived_from<std::remove_cvref_t<U>, Error>)&&(!std::same_as<std::remove_cvref_t<U>, Outcome>)
          Outcome(U&& value)
      : result_(std::in_place_index<0>, std::forward<U>(value)) {}
  Outcome(Error error) : result_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] bool ok() const { return result_.index() == 0; }
  explicit operator bool() const { return ok(); }

  [[nodiscard]] const T& value() const& { return check(), *std::get_if<0>(&result_); }
  [[nodiscard]] T& value() & { return check(), *std::get_if<0>(&result_); }
  [[nodiscard]] T&& value() && { return check(), std::move(*std::get_if<0>(&result_)); }

  const T& operator*() const& { return value(); }
  T& operator*() & { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }

  /// Call it only on a failed outcome.
  [[nodiscard]] const Error& error() const { return std::get<1>(result_); }

 private:
  void check() const {
    if (!ok()) throw error();
  }

  std::variant<T, Error> result_;
};

/// Success without a value, or the Error.
template <>
class [[nodiscard]] Outcome<void> {
 public:
  Outcome() = default;
  Outcome(Error error) : error_(std::move(error)) {}

  [[nodiscard]] bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }

  /// Throws the Error of a failed outcome.
  void value() const {
    if (error_) throw *error_;
  }

  /// Call it only on a failed outcome.
  [[nodiscard]] const Error& error() const { return error_.value(); }

 private:
  std::optional<Error> error_;
};

/// The text of an errno value; thread-safe, unlike strerror(3).
[[nodiscard]] inline std::string errno_text(int error) { return std::generic_category().message(error); }

/// Throws "cannot VERB OBJECT: text of errno". Call it directly after the call that set errno.
[[noreturn]] inline void throw_errno(const std::string& verb_and_object, std::string next_step = {}) {
  const int error = errno;
  throw Error("cannot " + verb_and_object + ": " + errno_text(error), std::move(next_step));
}

}  // namespace kms
