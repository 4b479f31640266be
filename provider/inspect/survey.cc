#include "provider/inspect/survey.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

#include "common/text/escape.h"
#include "provider/inspect/value.h"

namespace kms::provider {
namespace {

constexpr auto v1_scheme = "KMS v1";
constexpr auto v2_scheme = "KMS v2";
constexpr std::string_view scheme_prefix = "k8s:enc:";

/// "aescbc" of "k8s:enc:aescbc:v1:key1:".
std::string scheme_of(std::string_view stored) {
  if (!stored.starts_with(scheme_prefix)) return "none";
  stored.remove_prefix(scheme_prefix.size());
  return visible_text(utf8_text(stored.substr(0, std::min(stored.find(':'), std::size_t{32}))));
}

}  // namespace

void Survey::add(Bytes stored) {
  ++total_;
  const auto parsed = parse_etcd_value(stored);
  if (const auto* value = std::get_if<EtcdValue>(&parsed)) {
    ++counts_[{value->is_v1 ? v1_scheme : v2_scheme, utf8_text(value->provider_name),
               utf8_text(key_id_of(*value))}];
  } else if (std::holds_alternative<NotKms>(parsed)) {
    ++counts_[{scheme_of(text_of(stored)), "", ""}];
  } else {
    // An object of an aggregated or custom resource may be stored in any form; only KMS values are damaged.
    const bool is_kms = text_of(stored).starts_with(scheme_prefix);
    ++counts_[{is_kms ? "damaged" : "none", "", ""}];
  }
}

std::uint64_t Survey::as_expected(const std::string& key_id) const {
  std::uint64_t sum = 0;
  for (const auto& [kind, count] : counts_) {
    const auto& [scheme, provider, id] = kind;
    if ((scheme == v1_scheme || scheme == v2_scheme) && (key_id.empty() || id == key_id)) sum += count;
  }
  return sum;
}

mock_kms::v1::SurveyReport Survey::report() const {
  std::vector<std::pair<std::uint64_t, Kind>> rows;
  for (const auto& [kind, count] : counts_) rows.emplace_back(count, kind);
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  mock_kms::v1::SurveyReport report;
  report.set_objects(total_);
  for (const auto& [count, kind] : rows) {
    auto& group = *report.add_groups();
    group.set_objects(count);
    std::tie(*group.mutable_encryption(), *group.mutable_provider(), *group.mutable_key_id()) = kind;
  }
  return report;
}

std::string survey_text(const mock_kms::v1::SurveyReport& report) {
  std::string text = "OBJECTS    ENCRYPTION  PROVIDER          KEY ID\n";
  for (const auto& group : report.groups()) {
    std::array<char, 64> start{};
    std::snprintf(start.data(), start.size(), "%-10llu %-11s ",
                  static_cast<unsigned long long>(group.objects()), group.encryption().c_str());
    std::string provider = group.provider().empty() ? "-" : visible_text(group.provider());
    provider.resize(std::max(provider.size(), std::size_t{17}), ' ');
    text +=
        start.data() + provider + " " + (group.key_id().empty() ? "-" : visible_text(group.key_id())) + "\n";
  }
  return text;
}

}  // namespace kms::provider
