#include "supervisor/report/states.h"

#include <algorithm>
#include <cstdlib>

#include "common/text/protobuf.h"

namespace kms::supervisor::report {
namespace {

using mock_kms::v1::Event;
using namespace std::chrono_literals;

std::string detail(const Event& event, const std::string& name) {
  const auto found = event.details().find(name);
  return found == event.details().end() ? "" : found->second;
}

/// Reads human_duration()'s text, such as "1d 3h" or "2m 05s".
Duration length_of(std::string text) {
  std::erase(text, ' ');
  Duration days{0};
  if (const std::size_t end = text.find('d'); end != std::string::npos) {
    days = std::chrono::hours(24) * std::strtol(text.c_str(), nullptr, 10);
    text.erase(0, end + 1);
  }
  const auto length = parse_duration(text);
  return days + (length ? *length : Duration{0});
}

std::string cause_of(const Event& event) {
  const std::string status = detail(event, "status");
  const std::string cause = detail(event, "cause");
  return status.empty() || status == "was not started" ? cause : status + ": " + cause;
}

}  // namespace

void StateTrack::enter(const std::string& kind, WallTime at, const std::string& text) {
  if (!spans_.empty()) {
    StateSpan& last = spans_.back();
    if (last.kind == kind) return;
    at = std::max(at, last.from);  // a clock that was set back does not turn a span around
    last.to = at;
    if (last.from == at) spans_.pop_back();
  }
  spans_.push_back({kind, at, at, text});
}

/// A process of which only the beginning was recorded may have ended long before the next one was launched:
/// its supervisor was killed.
void StateTrack::launched(const Event& event, WallTime at) {
  if (!spans_.empty() && (spans_.back().kind == "serving" || spans_.back().kind == "unhealthy")) {
    enter("unknown", seen_at_, "a new process was launched; the end of the one before was not recorded");
    process_ends_.push_back(at);
  }
  pid_ = event.pid();
  stopping_ = false;
  if (spans_.empty() || !is_outage(spans_.back())) enter("starting", at, "");
}

void StateTrack::ended(const Event& event, WallTime at) {
  if (pid_ != 0 && event.pid() != 0 && event.pid() != pid_) return;  // it was not the active one
  process_ends_.push_back(at);
  const std::string cause = detail(event, "cause");
  if (cause == "the supervisor was asked to stop it")
    return enter(stopping_ ? "paused" : "stopped", at, cause);
  if (spans_.empty() || !is_outage(spans_.back())) return enter("outage", at, cause_of(event));
  if (spans_.back().text.empty()) spans_.back().text = cause_of(event);
}

/// The supervisor measured the outage. If the cause is a hang, the outage began before its first event.
void StateTrack::outage_over(const Event& event, WallTime at) {
  const WallTime from =
      at - std::chrono::duration_cast<WallTime::duration>(length_of(detail(event, "outage")));
  const bool began_before =
      spans_.size() == 1 || (spans_.size() > 1 && !is_outage(spans_[spans_.size() - 2]));
  if (began_before && spans_.back().kind == "serving" && spans_.back().from <= from) {
    enter("outage", from, detail(event, "cause"));  // its beginning was not recorded
    return enter("serving", at, "");
  }
  enter("serving", at, "");
  const std::size_t serving = spans_.size() - 1;
  std::size_t first = serving;
  while (first > 0 && is_outage(spans_[first - 1])) --first;
  if (first == serving) {
    const WallTime begin = serving > 0 ? std::max(from, spans_[serving - 1].from) : from;
    if (serving > 0) spans_[serving - 1].to = begin;
    spans_[serving].from = std::max(spans_[serving].from, begin);
    spans_.insert(spans_.begin() + static_cast<std::ptrdiff_t>(serving),
                  {"outage", begin, at, detail(event, "cause")});
    spans_[serving + 1].from = at;
    return;
  }
  spans_[serving - 1].to = spans_[serving].from = std::max(spans_[serving].from, at);
  // Events have whole milliseconds, and a short length has tenths. The text of a long one is rounded, so a
  // later begin is the exact one.
  const auto later = spans_[first].from - from;
  const bool is_rounded = later <= 1ms && later >= -1ms;
  if (is_rounded || (later > 0ms && spans_[first].kind == "unresponsive")) {
    spans_[first].from = first > 0 ? std::max(from, spans_[first - 1].from) : from;
    if (first > 0) spans_[first - 1].to = spans_[first].from;
  }
}

void StateTrack::add(const Event& event) {
  const WallTime at = from_proto(event.at());
  handle(event, at);
  seen_at_ = at;
}

void StateTrack::handle(const Event& event, WallTime at) {
  switch (event.kind()) {
    case mock_kms::v1::LAUNCHED:
      if (event.text().find("to take over") != std::string::npos) return;
      return launched(event, at);
    case mock_kms::v1::READY:
      if (event.text().find("to take over") != std::string::npos) return;
      pid_ = event.pid();
      return enter("serving", at, "");
    case mock_kms::v1::TAKEN_OVER:
      pid_ = event.pid();
      process_ends_.push_back(at);
      return;
    case mock_kms::v1::ENDED:
      return ended(event, at);
    case mock_kms::v1::TERMINATING:
      if (detail(event, "cause").starts_with("no answer to "))
        enter("unresponsive", at, detail(event, "cause"));
      return;
    case mock_kms::v1::OUTAGE_OVER:
      return outage_over(event, at);
    case mock_kms::v1::UNHEALTHY:
      return enter("unhealthy", at, event.text());
    case mock_kms::v1::HEALTHY:
      return enter("serving", at, "");
    case mock_kms::v1::ASKED_TO_STOP:
      stopping_ = true;
      return;
    default:
      return;
  }
}

void StateTrack::finish(WallTime end, const mock_kms::v1::SupervisorStatus* status) {
  if (status != nullptr) {
    const WallTime known_since = from_proto(status->since());
    const WallTime since = plausible(known_since) ? known_since : end;
    const std::string now = spans_.empty() ? "" : spans_.back().kind;
    switch (status->state()) {
      case mock_kms::v1::SERVING:
        if (now != "unhealthy") enter("serving", since, "");
        break;
      case mock_kms::v1::STARTING:
        if (now.empty() || now == "serving") enter("starting", since, "");
        break;
      case mock_kms::v1::PAUSED:
        enter("paused", since, status->reason());
        break;
      case mock_kms::v1::BACKING_OFF:
      case mock_kms::v1::STOPPED:
        if (now.empty() || now == "serving") enter("outage", since, status->reason());
        break;
      default:
        break;
    }
  }
  if (spans_.empty()) return;
  spans_.back().to = std::max(end, spans_.back().from);
  spans_.back().open = true;
}

}  // namespace kms::supervisor::report
