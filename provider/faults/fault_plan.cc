#include "provider/faults/fault_plan.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <cmath>

#include "common/text/protobuf.h"

namespace kms::provider {
namespace {

using google::protobuf::util::MessageDifferencer;
using mock_kms::v1::Fault;

constexpr std::uint32_t default_max_mib = 1024;

/// SplitMix64's finisher (Steele, Lea and Flood, 2014): every bit of the input changes half of the output's.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31U);
}

std::uint64_t mix(std::uint64_t state, std::string_view text) {
  for (const char c : text) state = mix(state ^ static_cast<unsigned char>(c));
  return state;
}

bool fits_or_unset(const std::string& pattern, std::string_view text) {
  return pattern.empty() || fits(pattern, text);
}

/// A violation is shown where the answer has what it is about.
bool has_place_for(Fault::Violation violation, Fault::Method method) {
  switch (violation) {
    case Fault::KEY_ID_FLAPPING:
      return method == Fault::STATUS;
    case Fault::KEY_ID_EMPTY:
    case Fault::KEY_ID_LONG:
    case Fault::KEY_ID_NOT_UTF8:
      return method != Fault::DECRYPT;
    case Fault::PLAINTEXT_WRONG:
    case Fault::GARBAGE_DECRYPTED:
      return method == Fault::DECRYPT;
    case Fault::AUTHORITY_REFUSED:
      return true;
    default:
      return method == Fault::ENCRYPT;
  }
}

bool selects(const Fault& fault, const FaultQuestion& question) {
  const auto& methods = fault.methods();
  if (!methods.empty() && std::find(methods.begin(), methods.end(), question.method) == methods.end())
    return false;
  if (fault.has_violation() && !has_place_for(fault.violation(), question.method)) return false;
  if ((fault.has_healthz() || fault.has_version()) && question.method != Fault::STATUS) return false;
  return !fault.has_late_start() && fits_or_unset(fault.key_id(), question.key_id) &&
         fits_or_unset(fault.uid(), question.uid);
}

}  // namespace

bool fits(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star =
      std::string_view::npos;  // the last one seen; what follows it is tried ever later in the text
  std::size_t tried = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      tried = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++tried;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

mock_kms::v1::AddFaultReply FaultPlan::add(Fault fault, Time now, Origin origin) {
  if (fault.name().empty()) {
    const std::string kind = fault.preset().empty() ? "fault" : fault.preset();
    do fault.set_name(kind + "-" + std::to_string(next_name_++));
    while (has(fault.name()));
  }
  clear(fault.name(), origin);
  Planned planned;
  planned.fault = std::move(fault);
  planned.origin = origin;
  planned.since = planned.refilled = now;
  planned.concerns_us =
      fits_or_unset(planned.fault.node(), node_) && fits_or_unset(planned.fault.instance(), instance_);
  planned.tokens = std::max(1U, planned.fault.rate_limit().burst());
  mock_kms::v1::AddFaultReply reply;
  reply.set_name(planned.fault.name());
  reply.set_concerns_us(planned.concerns_us);
  const auto place = std::find_if(faults_.begin(), faults_.end(),
                                  [&](const Planned& other) { return other.origin > origin; });
  faults_.insert(place, std::move(planned));
  mark_replaced();
  return reply;
}

bool FaultPlan::has(std::string_view name) const {
  return std::any_of(faults_.begin(), faults_.end(),
                     [&](const Planned& planned) { return planned.fault.name() == name; });
}

std::uint32_t FaultPlan::clear(std::string_view name, Origin origin) {
  const auto cleared = std::erase_if(faults_, [&](const Planned& planned) {
    return planned.origin == origin && (name.empty() || planned.fault.name() == name);
  });
  mark_replaced();
  return static_cast<std::uint32_t>(cleared);
}

void FaultPlan::declare(const std::vector<Fault>& faults, Time now, Origin origin) {
  std::vector<Planned> before;
  for (Planned& planned : faults_) {
    if (planned.origin == origin) before.push_back(std::move(planned));
  }
  std::erase_if(faults_, [&](const Planned& planned) { return planned.origin == origin; });
  for (const Fault& fault : faults) {
    add(fault, now, origin);
    const auto same = std::find_if(before.begin(), before.end(), [&](const Planned& planned) {
      return MessageDifferencer::Equals(planned.fault, fault);
    });
    if (same == before.end()) continue;
    const auto added = std::find_if(faults_.begin(), faults_.end(), [&](const Planned& planned) {
      return planned.origin == origin && planned.fault.name() == fault.name();
    });
    *added = *same;
  }
  mark_replaced();
}

void FaultPlan::mark_replaced() {
  for (auto one = faults_.begin(); one != faults_.end(); ++one) {
    one->replaced = std::any_of(faults_.begin(), one, [&](const Planned& before) {
      return before.fault.name() == one->fault.name();
    });
  }
}

mock_kms::v1::FaultList FaultPlan::list(Time now) const {
  mock_kms::v1::FaultList list;
  for (const Planned& planned : faults_) {
    auto& use = *list.add_faults();
    *use.mutable_fault() = planned.fault;
    use.set_matched(planned.matched);
    use.set_applied(planned.applied);
    use.set_concerns_us(planned.concerns_us);
    use.set_origin(planned.origin);
    use.set_replaced(planned.replaced);
    use.set_over(planned.fault.has_lasting() &&
                 now - planned.since >=
                     from_proto(planned.fault.after()) + from_proto(planned.fault.lasting()));
  }
  return list;
}

bool FaultPlan::any() const {
  return std::any_of(faults_.begin(), faults_.end(),
                     [](const Planned& planned) { return planned.concerns_us; });
}

bool FaultPlan::grows_memory() const {
  return std::any_of(faults_.begin(), faults_.end(),
                     [](const Planned& planned) { return planned.fault.has_memory_growth(); });
}

bool FaultPlan::in_time(const Planned& planned, Time now) {
  const Duration age = now - planned.since - from_proto(planned.fault.after());
  return age >= Duration{0} && (!planned.fault.has_lasting() || age < from_proto(planned.fault.lasting()));
}

double FaultPlan::chance(const Planned& planned, std::uint64_t purpose) const {
  const std::uint64_t bits = mix(mix(mix(seed_, planned.fault.name()) ^ planned.matched) ^ purpose);
  return static_cast<double>(bits >> 11U) * 0x1.0p-53;  // 53 bits: a double from 0 to less than 1
}

bool FaultPlan::hits(const Planned& planned) const {
  const Fault& fault = planned.fault;
  if (fault.first() > 0 && planned.matched > fault.first()) return false;
  if (fault.every() > 0 && planned.matched % fault.every() != 0) return false;
  return !fault.has_probability() || chance(planned, 1) < fault.probability();
}

Duration FaultPlan::delay_of(const Planned& planned) const {
  const auto& latency = planned.fault.latency();
  const Duration min = from_proto(latency.min());
  if (!latency.has_max()) return min;
  const Duration max = from_proto(latency.max());
  const double drawn = chance(planned, 2);
  if (!latency.long_tail()) {
    return min + Duration{std::llround(drawn * static_cast<double>((max - min).count()))};
  }
  // Pareto's distribution with exponent 1: half of all below twice the minimum, one of a hundred above a
  // hundredfold.
  const double scale = std::max(1.0, static_cast<double>(min.count()));
  return Duration{std::llround(std::min(static_cast<double>(max.count()), scale / (1 - drawn)))};
}

bool FaultPlan::takes_token(Planned& planned, Time now) {
  const auto& limit = planned.fault.rate_limit();
  const double seconds = std::chrono::duration<double>(now - planned.refilled).count();
  planned.refilled = now;
  planned.tokens =
      std::min<double>(std::max(1U, limit.burst()), planned.tokens + seconds * limit.per_second());
  if (planned.tokens < 1) return false;
  planned.tokens -= 1;
  return true;
}

bool FaultPlan::apply(Planned& planned, Time now, FaultDecision& decision) const {
  const Fault& fault = planned.fault;
  const auto fail = [&](int code, const std::string& message) {
    if (!decision.error) decision.error.emplace(code, message);
  };
  switch (fault.effect_case()) {
    case Fault::kError:
      fail(fault.error().code(), fault.error().message());
      break;
    case Fault::kRateLimit:
      if (takes_token(planned, now)) return false;
      fail(Fault::RESOURCE_EXHAUSTED, "too many calls");
      break;
    case Fault::kLatency:
      decision.delay = std::min(decision.delay + delay_of(planned), max_duration);
      break;
    case Fault::kHang:
      decision.hang = true;
      break;
    case Fault::kHealthz:
      if (!decision.healthz) decision.healthz = fault.healthz();
      break;
    case Fault::kVersion:
      if (!decision.version) decision.version = fault.version();
      break;
    case Fault::kViolation:
      if (fault.violation() == Fault::KEY_ID_FLAPPING && planned.matched % 2 == 0) return false;
      decision.violations.push_back(fault.violation());
      break;
    case Fault::kDrop:
      decision.drop = std::max(decision.drop, fault.drop());
      break;
    case Fault::kCrash:
      if (!decision.crash) decision.crash = fault.crash();
      break;
    case Fault::kFreeze:
      decision.freeze = true;
      break;
    case Fault::kMemoryGrowth:
      decision.grow_mib += fault.memory_growth().mib_per_call();
      decision.grow_max_mib =
          std::max(decision.grow_max_mib,
                   fault.memory_growth().max_mib() > 0 ? fault.memory_growth().max_mib() : default_max_mib);
      break;
    case Fault::kLateStart:
    case Fault::EFFECT_NOT_SET:
      return false;
  }
  return true;
}

FaultDecision FaultPlan::decide(const FaultQuestion& question, Time now) {
  FaultDecision decision;
  for (Planned& planned : faults_) {
    if (!planned.concerns_us || planned.replaced) continue;
    if (!in_time(planned, now) || !selects(planned.fault, question)) continue;
    ++planned.matched;
    if (!hits(planned) || !apply(planned, now, decision)) continue;
    ++planned.applied;
    decision.names += (decision.names.empty() ? "" : ", ") + planned.fault.name();
  }
  return decision;
}

}  // namespace kms::provider
