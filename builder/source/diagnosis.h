// A Diagnosis says what helps against a failed fetch, and whether trying again may help.
//
// It goes by the texts that libraries and servers have for failures. Pure, but describe() reads the proxy
// from the environment.
#pragma once

#include <string>
#include <string_view>

#include "builder/source/fetch.h"

namespace kms::builder {

struct Diagnosis {
  std::string next_step;   ///< never empty
  bool transient = false;  ///< a state of the network or the server that may pass; everything else is final
};

/// `code` is one of git_error_code, 0 if unknown. `hung_up`: the server had closed its end of the connection.
[[nodiscard]] Diagnosis diagnose(int code, std::string_view text, bool hung_up);

/// One try of a fetch failed.
class FetchError : public Error {
 public:
  FetchError(Error error, bool transient) : Error(std::move(error)), transient_(transient) {}
  [[nodiscard]] bool transient() const { return transient_; }

  /// True if the server has had too many requests (429, 503): it may ask for a longer wait.
  [[nodiscard]] bool overloaded() const {
    return cause().find("status code: 429") != std::string::npos ||
           cause().find("status code: 503") != std::string::npos;
  }

 private:
  bool transient_;
};

/// The error as the user gets it: without secrets, with the place and the next step.
[[nodiscard]] FetchError describe(const FetchRequest& request, const Error& error, int code, bool hung_up);

}  // namespace kms::builder
