// What is known of the failures of a fetch, by the texts that libraries and servers have for them: the next
// step, and whether a later try may go well. Pure; safe from any thread.
#pragma once

#include <string>
#include <string_view>

namespace kms::builder {

struct FailureKind {
  std::string hint;      ///< "" where nothing is known to help
  bool passing = false;  ///< the network's or the server's state of the moment; all else is final at once
};

/// By libgit2's code (one of git_error_code, 0 where unknown) and text, and by whether the server's end of
/// the connection was closed when it happened.
[[nodiscard]] FailureKind failure_kind(int code, std::string_view text, bool hung_up);

}  // namespace kms::builder
