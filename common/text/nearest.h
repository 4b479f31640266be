// nearest() finds the word that a misspelled one was probably meant to be, for "did you mean".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kms {

/// The candidate nearest to `word`; "" if none is near enough to be a typing error.
[[nodiscard]] std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// "; did you mean 'nearest'?", or "" if no candidate is near.
[[nodiscard]] std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace kms
