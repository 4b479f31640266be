#include "supervisor/conformance/report.h"

#include <algorithm>
#include <cstdio>

#include "common/text/escape.h"
#include "common/text/junit.h"

namespace kms::supervisor::conformance {
namespace {

using mock_kms::v1::CheckReport;
using mock_kms::v1::RuleResult;

RuleResult::Verdict verdict_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::pass:
      return RuleResult::PASS;
    case Verdict::fail:
      return RuleResult::FAIL;
    case Verdict::not_applicable:
      return RuleResult::NOT_APPLICABLE;
    case Verdict::not_visible:
      return RuleResult::NOT_VISIBLE;
  }
  return RuleResult::VERDICT_UNSPECIFIED;
}

const char* verdict_name(RuleResult::Verdict verdict) {
  switch (verdict) {
    case RuleResult::PASS:
      return "pass";
    case RuleResult::FAIL:
      return "FAIL";
    case RuleResult::NOT_APPLICABLE:
      return "not applicable";
    case RuleResult::NOT_VISIBLE:
      return "not visible";
    default:
      return "?";
  }
}

bool broken(const RuleResult& result, RuleResult::Level level) {
  return result.level() == level && result.verdict() == RuleResult::FAIL;
}

mock_kms::v1::RuleCounts counts_of(const CheckReport& report) {
  mock_kms::v1::RuleCounts counts;
  for (const RuleResult& result : report.results()) {
    if (broken(result, RuleResult::MUST)) counts.set_broken_must(counts.broken_must() + 1);
    if (broken(result, RuleResult::SHOULD)) counts.set_broken_should(counts.broken_should() + 1);
    if (result.verdict() == RuleResult::PASS) counts.set_pass(counts.pass() + 1);
    if (result.verdict() == RuleResult::NOT_APPLICABLE)
      counts.set_not_applicable(counts.not_applicable() + 1);
    if (result.verdict() == RuleResult::NOT_VISIBLE) counts.set_not_visible(counts.not_visible() + 1);
  }
  return counts;
}

/// "2 SHOULD (rules 15, 19)".
std::string broken_text(const CheckReport& report, RuleResult::Level level) {
  std::string rules;
  std::size_t count = 0;
  for (const RuleResult& result : report.results()) {
    if (!broken(result, level)) continue;
    rules += (count++ == 0 ? "" : ", ") + std::to_string(result.rule());
  }
  return std::to_string(count) + " " + RuleResult::Level_Name(level) +
         (count == 0 ? "" : (count == 1 ? " (rule " : " (rules ") + rules + ")");
}

std::string row(const RuleResult& result) {
  char start[64];
  std::snprintf(start, sizeof start, "%4u  %-6s  %-14s  ", result.rule(),
                RuleResult::Level_Name(result.level()).c_str(), verdict_name(result.verdict()));
  return start + result.text() + " (" + result.seen() + ")\n";
}

}  // namespace

CheckReport report_on(const Observations& seen) {
  CheckReport report;
  for (const Rule& rule : rules()) {
    const Finding finding = rule.judge(seen);
    RuleResult& result = *report.add_results();
    result.set_rule(static_cast<std::uint32_t>(rule.number));
    result.set_level(rule.level == Level::must ? RuleResult::MUST : RuleResult::SHOULD);
    result.set_text(std::string(rule.text));
    result.set_verdict(verdict_of(finding.verdict));
    result.set_seen(utf8_text(finding.seen));
  }
  *report.mutable_counts() = counts_of(report);
  report.set_conforms(report.counts().broken_must() == 0);
  return report;
}

std::string report_text(const CheckReport& report, Rows rows) {
  std::string text = "RULE  LEVEL   VERDICT         RULE AND REASON\n";
  for (const RuleResult& result : report.results()) {
    if (rows == Rows::all || result.verdict() != RuleResult::PASS) text += row(result);
  }
  const auto& counts = report.counts();
  const bool only_strictly = !report.conforms() && counts.broken_must() == 0;
  const std::string verdict = report.conforms() ? " conforms: "
                              : only_strictly   ? " DOES NOT CONFORM (--strict): "
                                                : " DOES NOT CONFORM: ";
  text += "\n" + report.endpoint() + verdict + std::to_string(counts.pass()) + " pass, " +
          broken_text(report, RuleResult::MUST) + " and " + broken_text(report, RuleResult::SHOULD) +
          " fail, " + std::to_string(counts.not_applicable()) + " not applicable, " +
          std::to_string(counts.not_visible()) + " not visible from outside\n";
  return text;
}

void judge_strictly(CheckReport& report) {
  report.set_conforms(report.conforms() && report.counts().broken_should() == 0);
}

void remove_passed(CheckReport& report) {
  auto& results = *report.mutable_results();
  results.erase(std::remove_if(results.begin(), results.end(),
                               [](const RuleResult& result) { return result.verdict() == RuleResult::PASS; }),
                results.end());
}

std::string report_junit(const CheckReport& report, Duration took, bool strict) {
  std::vector<JunitCase> cases;
  for (const RuleResult& result : report.results()) {
    const std::string level = RuleResult::Level_Name(result.level());
    JunitCase test{"kms-v2", "rule " + std::to_string(result.rule()) + " " + level + ": " + result.text(), "",
                   ""};
    if (result.verdict() == RuleResult::FAIL && (strict || result.level() == RuleResult::MUST)) {
      test.failure = result.seen();
    } else if (result.verdict() != RuleResult::PASS) {
      test.skipped_type =
          broken(result, RuleResult::SHOULD) ? "broken SHOULD" : verdict_name(result.verdict());
      test.skipped = test.skipped_type + ": " + result.seen();
    }
    cases.push_back(std::move(test));
  }
  return junit_report("supervisor check " + report.endpoint(), cases, took);
}

}  // namespace kms::supervisor::conformance
