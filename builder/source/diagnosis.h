// A Diagnosis says what helps against a failed fetch, and whether trying again may help.
//
// It goes by the texts that libraries and servers have for failures; http_transport.cc knows those of
// libcurl by their codes. Pure, but describe() reads the proxy from the environment.
#pragma once

#include <string>
#include <string_view>

#include "builder/source/fetch.h"

namespace kms::builder {

struct Diagnosis {
  std::string next_step;   ///< never empty
  bool transient = false;  ///< a state of the network or the server that may pass; everything else is final
};

/// `code` is one of git_error_code, 0 if unknown.
[[nodiscard]] Diagnosis diagnose(int code, std::string_view text);

/// One try of a fetch failed.
class FetchError : public Error {
 public:
  FetchError(Error error, bool transient) : Error(std::move(error)), transient_(transient) {}
  [[nodiscard]] bool transient() const { return transient_; }

 private:
  bool transient_;
};

/// The error as the user gets it: without secrets, with the place.
[[nodiscard]] FetchError describe(const FetchRequest& request, const FetchError& error);

/// The same, with the next step.
[[nodiscard]] FetchError describe(const FetchRequest& request, const Error& error, int code);

}  // namespace kms::builder
