#include "supervisor/report/faults.h"

#include <absl/strings/str_split.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "common/text/protobuf.h"

namespace kms::supervisor::report {
namespace {

/// The text between `start` and `until`, or up to the end; empty if `start` is not in it.
std::optional<std::string> name_after(const std::string& text, const std::string& start,
                                      const std::string& until) {
  const std::size_t at = text.find(start);
  if (at == std::string::npos) return std::nullopt;
  const std::size_t begin = at + start.size();
  return text.substr(begin, text.find(until, begin) - begin);
}

/// "slow" of "fault slow is set: ..." for the verb " is set".
std::optional<std::string> subject(const std::string& text, const std::string& verb) {
  if (!text.starts_with("fault ") || text.find(verb) == std::string::npos) return std::nullopt;
  return name_after(text, "fault ", verb);
}

}  // namespace

void FaultTrack::change(const std::string& text, WallTime at) {
  if (const auto name = subject(text, " is set")) return set(*name, at, text, Origin::command);
  if (const auto name = subject(text, " is cleared")) return clear(*name, at);
  if (const auto name = subject(text, " is over"))
    return end_by_time(*name, at, name_after(text, " after ", " "));
  if (text.starts_with("all faults ")) return clear_all(Origin::command, at);
  if (!text.starts_with("scenario")) return;
  if (const auto name = name_after(text, "sets fault ", " ")) return set(*name, at, text, Origin::scenario);
  if (const auto name = name_after(text, "clears fault ", ",")) return clear(*name, at);
  // A scenario that begins replaces the one before.
  if (text.ends_with(" begins") || text.ends_with(" is stopped") ||
      text.find(" ends its fault") != std::string::npos)
    clear_all(Origin::scenario, at);
}

void FaultTrack::met(const std::string& names, WallTime at) {
  for (const std::string& name : std::vector<std::string>(absl::StrSplit(names, ", ", absl::SkipEmpty()))) {
    if (!set_.contains(name))
      set(name, at, "the first call that met it; the fault was set earlier", Origin::unknown);
  }
}

void FaultTrack::process_ended(WallTime at) {
  while (!set_.empty()) clear(set_.begin()->first, at);
}

void FaultTrack::finish(WallTime end, const mock_kms::v1::SupervisorStatus* status) {
  std::vector<std::string> still_set;
  if (status != nullptr) still_set.assign(status->injected_faults().begin(), status->injected_faults().end());
  for (const std::string& name : still_set) {
    const WallTime started = std::min(from_proto(status->started_at()), end);
    if (!set_.contains(name)) set(name, started, "set when the evidence was taken", Origin::unknown);
  }
  for (auto& [name, fault] : set_) {
    const bool open = status == nullptr || std::count(still_set.begin(), still_set.end(), name) > 0;
    if (!open) fault.text += "; its end was not recorded";
    add_span(name, fault, end, open);
  }
}

void FaultTrack::set(const std::string& name, WallTime at, const std::string& text, Origin origin) {
  clear(name, at);
  set_[name] = {at, text, origin};
}

void FaultTrack::clear(const std::string& name, WallTime at) {
  const auto found = set_.find(name);
  if (found == set_.end()) return;
  add_span(name, found->second, at, false);
  set_.erase(found);
}

/// The provider notices the end at its next call. `lasted` tells when it was.
void FaultTrack::end_by_time(const std::string& name, WallTime noticed,
                             const std::optional<std::string>& lasted) {
  const auto found = set_.find(name);
  const auto length = parse_duration(lasted.value_or(""));
  if (found == set_.end() || !length) return clear(name, noticed);
  clear(name, std::min(noticed, found->second.at + std::chrono::duration_cast<WallTime::duration>(*length)));
}

void FaultTrack::clear_all(Origin origin, WallTime at) {
  std::vector<std::string> names;
  for (const auto& [name, fault] : set_) {
    if (fault.origin == origin) names.push_back(name);
  }
  for (const std::string& name : names) clear(name, at);
}

void FaultTrack::add_span(const std::string& name, const Set& fault, WallTime to, bool open) {
  mock_kms::v1::Span& span = *plugin_.add_faults();
  span.set_kind(name);
  *span.mutable_from() = to_timestamp(fault.at);
  *span.mutable_to() = to_timestamp(std::max(to, fault.at));
  span.set_text(fault.text);
  span.set_open(open);
}

}  // namespace kms::supervisor::report
