// Survey counts the values of many keys by the KMS, the provider and the key id that encrypted them.
//
// One thread. Memory grows with the number of different key ids, not of keys.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "common/crypto/bytes.h"
#include "proto/etcd_value.pb.h"

namespace kms::provider {

class Survey {
 public:
  void add(Bytes stored);

  [[nodiscard]] std::uint64_t total() const { return total_; }

  /// The number that a KMS encrypted, and under this key id unless it is empty.
  [[nodiscard]] std::uint64_t as_expected(const std::string& key_id) const;

  /// The most frequent first.
  [[nodiscard]] mock_kms::v1::SurveyReport report() const;

 private:
  using Kind = std::tuple<std::string, std::string, std::string>;  ///< scheme, provider's name, key id

  std::map<Kind, std::uint64_t> counts_;
  std::uint64_t total_ = 0;
};

/// A table, a line per group.
[[nodiscard]] std::string survey_text(const mock_kms::v1::SurveyReport& report);

}  // namespace kms::provider
