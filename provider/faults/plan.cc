#include "provider/faults/plan.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <cmath>

#include "common/text/glob.h"
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

bool matches_if_set(const std::string& pattern, std::string_view text) {
  return pattern.empty() || glob_match(pattern, text);
}

/// True if the answer to the method has the field that the violation changes.
bool concerns(Fault::Violation violation, Fault::Method method) {
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

bool selects(const Fault& fault, const IncomingCall& call) {
  const auto& methods = fault.methods();
  if (!methods.empty() && std::find(methods.begin(), methods.end(), call.method) == methods.end())
    return false;
  if (fault.has_violation() && !concerns(fault.violation(), call.method)) return false;
  if ((fault.has_healthz() || fault.has_version()) && call.method != Fault::STATUS) return false;
  return !fault.has_late_start() && matches_if_set(fault.key_id(), call.key_id) &&
         matches_if_set(fault.uid(), call.uid);
}

}  // namespace

mock_kms::v1::AddFaultReply FaultPlan::add(Fault fault, Time now, Origin origin) {
  if (fault.name().empty()) {
    const std::string kind = fault.preset().empty() ? "fault" : fault.preset();
    do fault.set_name(kind + "-" + std::to_string(next_name_++));
    while (has(fault.name()));
  }
  clear(fault.name(), origin);
  ActiveFault active;
  active.fault = std::move(fault);
  active.origin = origin;
  active.since = active.refilled = now;
  active.applies_here =
      matches_if_set(active.fault.node(), node_) && matches_if_set(active.fault.instance(), instance_);
  active.tokens = std::max(1U, active.fault.rate_limit().burst());
  mock_kms::v1::AddFaultReply reply;
  reply.set_name(active.fault.name());
  reply.set_applies_here(active.applies_here);
  const auto place = std::find_if(faults_.begin(), faults_.end(),
                                  [&](const ActiveFault& other) { return other.origin > origin; });
  faults_.insert(place, std::move(active));
  mark_replaced();
  return reply;
}

bool FaultPlan::has(std::string_view name) const {
  return std::any_of(faults_.begin(), faults_.end(),
                     [&](const ActiveFault& active) { return active.fault.name() == name; });
}

std::uint32_t FaultPlan::clear(std::string_view name, Origin origin) {
  const auto cleared = std::erase_if(faults_, [&](const ActiveFault& active) {
    return active.origin == origin && (name.empty() || active.fault.name() == name);
  });
  mark_replaced();
  return static_cast<std::uint32_t>(cleared);
}

void FaultPlan::declare(const std::vector<Fault>& faults, Time now, Origin origin) {
  std::vector<ActiveFault> before;
  for (ActiveFault& active : faults_) {
    if (active.origin == origin) before.push_back(std::move(active));
  }
  std::erase_if(faults_, [&](const ActiveFault& active) { return active.origin == origin; });
  for (const Fault& fault : faults) {
    add(fault, now, origin);
    const auto same = std::find_if(before.begin(), before.end(), [&](const ActiveFault& active) {
      return MessageDifferencer::Equals(active.fault, fault);
    });
    if (same == before.end()) continue;
    const auto added = std::find_if(faults_.begin(), faults_.end(), [&](const ActiveFault& active) {
      return active.origin == origin && active.fault.name() == fault.name();
    });
    *added = *same;
  }
  mark_replaced();
}

void FaultPlan::mark_replaced() {
  for (auto one = faults_.begin(); one != faults_.end(); ++one) {
    one->replaced = std::any_of(faults_.begin(), one, [&](const ActiveFault& before) {
      return before.fault.name() == one->fault.name();
    });
  }
}

mock_kms::v1::FaultUse::State FaultPlan::state_of(const ActiveFault& active, Time now) {
  using mock_kms::v1::FaultUse;
  if (!active.applies_here) return FaultUse::ELSEWHERE;
  if (active.replaced) return FaultUse::REPLACED;
  return end_of(active).value_or(Time::max()) <= now ? FaultUse::OVER : FaultUse::SET;
}

mock_kms::v1::FaultList FaultPlan::list(Time now) const {
  mock_kms::v1::FaultList list;
  for (const ActiveFault& active : faults_) {
    auto& use = *list.add_faults();
    *use.mutable_fault() = active.fault;
    use.set_matched(active.matched);
    use.set_applied(active.applied);
    use.set_state(state_of(active, now));
    use.set_origin(active.origin);
  }
  return list;
}

std::vector<FaultPlan::Ended> FaultPlan::take_ended(Time now) {
  std::vector<Ended> ended;
  for (ActiveFault& active : faults_) {
    const auto end = end_of(active);
    if (!end || *end > now || std::exchange(active.end_taken, true)) continue;
    if (active.applies_here && !active.replaced)
      ended.push_back({active.fault.name(), from_proto(active.fault.lasting()), *end});
  }
  return ended;
}

bool FaultPlan::any() const {
  return std::any_of(faults_.begin(), faults_.end(),
                     [](const ActiveFault& active) { return active.applies_here; });
}

bool FaultPlan::grows_memory() const {
  return std::any_of(faults_.begin(), faults_.end(),
                     [](const ActiveFault& active) { return active.fault.has_memory_growth(); });
}

std::optional<FaultPlan::Time> FaultPlan::end_of(const ActiveFault& active) {
  if (!active.fault.has_lasting()) return std::nullopt;
  return active.since + from_proto(active.fault.after()) + from_proto(active.fault.lasting());
}

bool FaultPlan::in_time(const ActiveFault& active, Time now) {
  const Duration age = now - active.since - from_proto(active.fault.after());
  return age >= Duration{0} && (!active.fault.has_lasting() || age < from_proto(active.fault.lasting()));
}

double FaultPlan::chance(const ActiveFault& active, std::uint64_t purpose) const {
  const std::uint64_t bits = mix(mix(mix(seed_, active.fault.name()) ^ active.matched) ^ purpose);
  return static_cast<double>(bits >> 11U) * 0x1.0p-53;  // 53 bits: a double from 0 to less than 1
}

bool FaultPlan::hits(const ActiveFault& active) const {
  const Fault& fault = active.fault;
  if (fault.first() > 0 && active.matched > fault.first()) return false;
  if (fault.every() > 0 && active.matched % fault.every() != 0) return false;
  return !fault.has_probability() || chance(active, 1) < fault.probability();
}

Duration FaultPlan::delay_of(const ActiveFault& active) const {
  const auto& latency = active.fault.latency();
  const Duration min = from_proto(latency.min());
  if (!latency.has_max()) return min;
  const Duration max = from_proto(latency.max());
  const double drawn = chance(active, 2);
  if (!latency.long_tail()) {
    return min + Duration{std::llround(drawn * static_cast<double>((max - min).count()))};
  }
  // Pareto distribution with exponent 1: half of the draws are below twice the minimum, one in a hundred is
  // above a hundredfold.
  const double scale = std::max(1.0, static_cast<double>(min.count()));
  return Duration{std::llround(std::min(static_cast<double>(max.count()), scale / (1 - drawn)))};
}

bool FaultPlan::take_token(ActiveFault& active, Time now) {
  const auto& limit = active.fault.rate_limit();
  const double seconds = std::chrono::duration<double>(now - active.refilled).count();
  active.refilled = now;
  active.tokens = std::min<double>(std::max(1U, limit.burst()), active.tokens + seconds * limit.per_second());
  if (active.tokens < 1) return false;
  active.tokens -= 1;
  return true;
}

bool FaultPlan::apply(ActiveFault& active, Time now, FaultDecision& decision) const {
  const Fault& fault = active.fault;
  const auto fail = [&](int code, const std::string& message) {
    if (!decision.error) decision.error.emplace(code, message);
  };
  switch (fault.effect_case()) {
    case Fault::kError:
      fail(fault.error().code(), fault.error().message());
      break;
    case Fault::kRateLimit:
      if (take_token(active, now)) return false;
      fail(Fault::RESOURCE_EXHAUSTED, "too many calls");
      break;
    case Fault::kLatency:
      decision.delay = std::min(decision.delay + delay_of(active), max_duration);
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
      if (fault.violation() == Fault::KEY_ID_FLAPPING && active.matched % 2 == 0) return false;
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

FaultDecision FaultPlan::decide(const IncomingCall& call, Time now) {
  FaultDecision decision;
  for (ActiveFault& active : faults_) {
    if (!active.applies_here || active.replaced) continue;
    if (!in_time(active, now) || !selects(active.fault, call)) continue;
    ++active.matched;
    if (!hits(active) || !apply(active, now, decision)) continue;
    ++active.applied;
    decision.names += (decision.names.empty() ? "" : ", ") + active.fault.name();
  }
  return decision;
}

}  // namespace kms::provider
