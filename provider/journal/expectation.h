// Expectation is what a test expects of the calls: "decrypt == 0 since start". Pure, safe from any thread.
//
//   WHAT OPERATOR NUMBER [since start | since DURATION]
//   WHAT      status, encrypt, decrypt or all; behind a point a code of gRPC, HUNG, or `faulted`:
//   decrypt.NOT_FOUND OPERATOR  == != < <= > >=
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

  /// How far back it looks; nothing for since the provider's start.
  [[nodiscard]] std::optional<Duration> since() const { return since_; }

  /// The number of the calls that it is about.
  [[nodiscard]] std::uint64_t count(const mock_kms::v1::CallCounts& counts) const;

  [[nodiscard]] bool holds(std::uint64_t count) const;

 private:
  std::string method_;  ///< empty: all
  std::string code_;    ///< empty: all
  bool faulted_ = false;
  std::string operator_;
  std::uint64_t number_ = 0;
  std::optional<Duration> since_;
};

}  // namespace kms::provider
