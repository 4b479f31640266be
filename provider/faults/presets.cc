#include "provider/faults/presets.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <array>

#include "common/process/signals.h"
#include "common/text/nearest.h"
#include "common/text/protobuf.h"
#include "common/text/user_json.h"

namespace kms::provider {
namespace {

using google::protobuf::util::TimeUtil;
using mock_kms::v1::Fault;

Error no_preset(const std::string& name) {
  std::vector<std::string> names;
  std::string list;
  for (const Preset& preset : presets()) {
    names.push_back(preset.name);
    list += (list.empty() ? "" : ", ") + preset.name;
  }
  const std::string near = did_you_mean(enum_word(name), names);
  return {"there is no preset '" + name + "'" + near, near.empty() ? "the presets are: " + list : ""};
}

Error not_a_fault(const std::string& why) {
  return Error("this is not a fault: " + why, "see 'fault add --help'");
}

/// Before the preset's durations are merged in: protobuf would merge the parts of two durations.
Outcome<> check_durations(const Fault& fault) {
  using google::protobuf::Duration;
  const std::array<std::pair<std::string, const Duration*>, 5> durations{{
      {"after", &fault.after()},
      {"for", &fault.lasting()},
      {"latency.min", &fault.latency().min()},
      {"latency.max", &fault.latency().max()},
      {"lateStart", &fault.late_start()},
  }};
  for (const auto& [name, duration] : durations) {
    if (duration->seconds() < 0 || duration->nanos() < 0) return not_a_fault(name + " is negative");
    if (duration->seconds() > TimeUtil::kDurationMaxSeconds || duration->nanos() > 999'999'999)
      return not_a_fault(name + " is not a duration");
  }
  return {};
}

/// Removes the preset's fields that `fault` sets itself and that a merge would add to.
void make_room(const Fault& fault, Fault& preset) {
  if (fault.methods_size() > 0) preset.clear_methods();
  if (fault.has_late_start() && preset.has_late_start()) preset.clear_late_start();
  if (!fault.has_latency() || !preset.has_latency()) return;
  if (fault.latency().has_min()) preset.mutable_latency()->clear_min();
  if (fault.latency().has_max()) preset.mutable_latency()->clear_max();
}

Outcome<> check_latency(const Fault::Latency& latency) {
  if (latency.long_tail() && !latency.has_max()) return not_a_fault("a long tail needs latency.max");
  if (latency.has_max() && from_proto(latency.max()) < from_proto(latency.min())) {
    return not_a_fault("latency.max is less than latency.min");
  }
  if (from_proto(latency.min()) <= Duration{0} && !latency.has_max()) return not_a_fault("the latency is 0");
  return {};
}

Outcome<> check_effect(const Fault& fault) {
  switch (fault.effect_case()) {
    case Fault::EFFECT_NOT_SET:
      return not_a_fault("it has no effect");
    case Fault::kError:
      if (fault.error().code() == Fault::OK)
        return not_a_fault("the error has no code, or OK; name one such as UNAVAILABLE");
      if (!Fault::Code_IsValid(fault.error().code())) return not_a_fault("gRPC has no such code");
      return {};
    case Fault::kLatency:
      return check_latency(fault.latency());
    case Fault::kRateLimit:
      if (!(fault.rate_limit().per_second() > 0)) return not_a_fault("rateLimit.perSecond is not above 0");
      return {};
    case Fault::kViolation:
      if (fault.violation() == Fault::VIOLATION_UNSPECIFIED || !Fault::Violation_IsValid(fault.violation()))
        return not_a_fault("the violation has no name");
      return {};
    case Fault::kDrop:
      if (fault.drop() == Fault::DROP_UNSPECIFIED || !Fault::Drop_IsValid(fault.drop()))
        return not_a_fault("drop is neither GOAWAY nor RESET");
      return {};
    case Fault::kCrash:
      if (fault.crash().exit_code() > 255) return not_a_fault("an exit code is at most 255");
      if (!fault.crash().signal().empty() && !process::signal_number(fault.crash().signal())) {
        return not_a_fault("there is no signal '" + fault.crash().signal() + "'" +
                           process::did_you_mean_signal(fault.crash().signal()));
      }
      return {};
    case Fault::kMemoryGrowth:
      if (fault.memory_growth().mib_per_call() == 0) return not_a_fault("memoryGrowth.mibPerCall is 0");
      return {};
    default:
      return {};
  }
}

Outcome<> check_fault(const Fault& fault) {
  if (!(fault.probability() >= 0 && fault.probability() <= 1)) {
    return not_a_fault("the probability is not between 0 and 1");
  }
  for (const int method : fault.methods()) {
    if (method == Fault::METHOD_UNSPECIFIED || !Fault::Method_IsValid(method)) {
      return not_a_fault("a method has no name");
    }
  }
  return check_effect(fault);
}

}  // namespace

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all{
      {"key-disabled", "the key was disabled: every call fails with FAILED_PRECONDITION",
       R"({"error": {"code": "FAILED_PRECONDITION", "message": "key disabled"}})"},
      {"kubernetes-mock-failed", "the failed state of the mock of Kubernetes' integration tests",
       R"({"methods": ["STATUS", "ENCRYPT", "DECRYPT"], "error": {"code": "FAILED_PRECONDITION", "message": "failed precondition - key disabled"}})"},
      {"key-deleted", "the key is gone: Encrypt and Decrypt fail with NOT_FOUND",
       R"({"methods": ["ENCRYPT", "DECRYPT"], "error": {"code": "NOT_FOUND", "message": "key not found"}})"},
      {"permission-denied", "the role has no permission to use the key",
       R"({"methods": ["ENCRYPT", "DECRYPT"], "error": {"code": "PERMISSION_DENIED", "message": "access to the key is denied"}})"},
      {"credentials-expired", "every call fails with UNAUTHENTICATED",
       R"({"error": {"code": "UNAUTHENTICATED", "message": "the credentials have expired"}})"},
      {"throttled", "the KMS takes one call a second and refuses the others with RESOURCE_EXHAUSTED",
       R"({"rateLimit": {"perSecond": 1, "burst": 1}})"},
      {"unavailable", "the KMS is down and says so",
       R"({"error": {"code": "UNAVAILABLE", "message": "the KMS is unavailable"}})"},
      {"flaky", "three calls of ten fail with UNAVAILABLE",
       R"({"probability": 0.3, "error": {"code": "UNAVAILABLE", "message": "the connection to the KMS broke"}})"},
      {"network-partition", "the KMS cannot be reached: calls hang until the client gives up",
       R"({"hang": {}})"},
      {"slow", "answers take 2 to 4 s, about the API server's deadline of 3 s",
       R"({"latency": {"min": "2s", "max": "4s"}})"},
      {"long-tail", "most answers take 5 ms, a few take seconds",
       R"({"latency": {"min": "0.005s", "max": "10s", "longTail": true}})"},
      {"unhealthy", "Status answers, and its healthz is not ok",
       R"({"methods": ["STATUS"], "healthz": "the KMS reports an internal fault"})"},
      {"wrong-key", "Decrypt is done under another key and refuses every ciphertext",
       R"({"methods": ["DECRYPT"], "error": {"code": "INVALID_ARGUMENT", "message": "the ciphertext was not made under this key"}})"},
      {"decrypt-broken", "only Decrypt fails",
       R"({"methods": ["DECRYPT"], "error": {"code": "INTERNAL", "message": "cannot decrypt"}})"},
      {"encrypt-broken", "only Encrypt fails",
       R"({"methods": ["ENCRYPT"], "error": {"code": "INTERNAL", "message": "cannot encrypt"}})"},
      {"old-version", "Status names version v1beta1", R"({"methods": ["STATUS"], "version": "v1beta1"})"},
      {"crash-loop", "the process ends with code 1 at every tenth call",
       R"({"every": 10, "crash": {"exitCode": 1}})"},
      {"out-of-memory", "the process is killed as by the kernel",
       R"({"first": 1, "crash": {"signal": "SIGKILL"}})"},
      {"memory-leak", "every call takes 1 MiB, up to 1 GiB", R"({"memoryGrowth": {"mibPerCall": 1}})"},
      {"frozen", "the whole process stops", R"({"first": 1, "freeze": {}})"},
      {"down-at-start", "the provider listens 40 s after its start; with serve --fault",
       R"({"lateStart": "40s"})"},
  };
  return all;
}

const Preset* preset_named(const std::string& name) {
  const auto found = std::find_if(presets().begin(), presets().end(),
                                  [&](const Preset& preset) { return preset.name == enum_word(name); });
  return found == presets().end() ? nullptr : &*found;
}

Outcome<Fault> complete_fault(const Fault& fault) {
  if (const auto checked = check_durations(fault); !checked) return checked.error();
  Fault whole;
  const Preset* preset = preset_named(fault.preset());
  if (!fault.preset().empty()) {
    if (preset == nullptr) return no_preset(fault.preset());
    if (const auto read = from_json(preset->json, whole); !read) {
      throw read.error().within("preset " + preset->name);
    }
    make_room(fault, whole);
  }
  whole.MergeFrom(fault);
  if (preset != nullptr) whole.set_preset(preset->name);
  if (const auto checked = check_fault(whole); !checked) return checked.error();
  return whole;
}

Outcome<Fault> read_fault(const std::string& text) {
  Fault fault;
  if (text.starts_with('{')) {
    if (const auto read = from_user_json(text, fault); !read)
      return read.error().within("this is not a fault");
    return fault;
  }
  Fault::Violation violation{};
  if (Fault::Violation_Parse(enum_name(text), &violation)) {
    fault.set_violation(violation);
  } else {
    fault.set_preset(text);
  }
  return fault;
}

}  // namespace kms::provider
