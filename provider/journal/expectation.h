// Expectation states how many calls a test expects: "decrypt == 0 since start".
//
//   WHAT OPERATOR NUMBER [since start | since DURATION]
//   WHAT      status, encrypt, decrypt, v1version, v1encrypt, v1decrypt, other or all
//   WHAT.CODE the same by a gRPC code, HUNG or `faulted`: decrypt.NOT_FOUND
//   OPERATOR  == != < <= > >=, with or without blanks around it
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/text/time.h"
#include "proto/provider_control.pb.h"

namespace kms::provider {

class Expectation {
 public:
  [[nodiscard]] static Outcome<Expectation> parse(std::string_view text);

  /// The time that it looks back; empty: since the provider's start.
  [[nodiscard]] std::optional<Duration> since() const { return since_; }

  /// The number of calls that it is about.
  [[nodiscard]] std::uint64_t count(const mock_kms::v1::CallCounts& counts) const;

  /// True if good calls of Status are among those that it is about.
  [[nodiscard]] bool counts_good_status() const;

  [[nodiscard]] bool holds(std::uint64_t count) const;

 private:
  Outcome<> parse_calls(std::string_view text, const std::string& word);

  std::string method_;  ///< empty: all
  std::string code_;    ///< empty: all
  bool faulted_ = false;
  std::string operator_;
  std::uint64_t number_ = 0;
  std::optional<Duration> since_;
};

}  // namespace kms::provider
