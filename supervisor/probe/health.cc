#include "supervisor/probe/health.h"

#include <algorithm>
#include <vector>

#include "common/text/protobuf.h"

namespace kms::supervisor {

namespace {

Duration quantile(std::vector<Duration> values, double share) {
  const auto at = static_cast<std::ptrdiff_t>(static_cast<double>(values.size() - 1) * share + 0.5);
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

}  // namespace

void Health::note(const ProbeResult& result, WallTime wall_now, Time now) {
  if (const auto* deep = std::get_if<DeepAnswer>(&result.outcome)) return note_deep(*deep, wall_now);
  probed_at_ = wall_now;
  if (const auto* answer = std::get_if<ProbeAnswer>(&result.outcome))
    return note_answer(*answer, wall_now, now);
  ++failures_in_a_row_;
  last_failure_ = std::get<ProbeFailure>(result.outcome).cause;
}

void Health::note_answer(const ProbeAnswer& answer, WallTime wall_now, Time now) {
  answer_ = answer;
  fault_ = fault_of(answer);
  for (std::string* text : {answer_->status.mutable_version(), answer_->status.mutable_healthz(),
                            answer_->status.mutable_key_id(), &answer_->error}) {
    if (text->size() > max_text) text->resize(max_text);
  }
  answered_ |= answer.error.empty();
  failures_in_a_row_ = 0;
  slow_ = slow_after_ > Duration{0} && answer.latency > slow_after_;
  latencies_.push_back(answer.latency);
  if (latencies_.size() > kept_latencies) latencies_.pop_front();
  if (!fault_.empty()) return;
  good_at_ = now;
  if (answer.status.key_id() == key_id_) return;
  previous_key_id_ = std::exchange(key_id_, answer.status.key_id());
  key_id_since_ = wall_now;
}

void Health::note_deep(const DeepAnswer& answer, WallTime now) {
  deep_answer_ = answer;
  for (std::string* text : {&deep_answer_->key_id, &deep_answer_->problem}) {
    if (text->size() > max_text) text->resize(max_text);
  }
  deep_at_ = now;
}

std::string Health::fault() const {
  if (!answer_) return "";
  return fault_.empty() && deep_answer_ ? deep_answer_->problem : fault_;
}

std::string Health::reason() const {
  if (answer_ && failures_in_a_row_ > 0) {
    const std::string which =
        failures_in_a_row_ == 1 ? "probe" : std::to_string(failures_in_a_row_) + " probes";
    return "the last " + which + " got no answer: " + last_failure_;
  }
  if (answer_) return "the plugin answers, but " + fault();
  return "the plugin was launched and has not answered yet" +
         (last_failure_.empty() ? "" : ": " + last_failure_);
}

void Health::fill(mock_kms::v1::SupervisorStatus& status) const {
  mock_kms::v1::Probe& probe = *status.mutable_probe();
  if (probed_at_) *probe.mutable_at() = to_timestamp(*probed_at_);
  probe.set_failures_in_a_row(failures_in_a_row_);
  probe.set_last_failure(last_failure_);
  if (time_to_ready_) *probe.mutable_time_to_ready() = to_proto(*time_to_ready_);
  if (!answer_) return;
  fill_latencies(probe);
  mock_kms::v1::Answer& answer = *status.mutable_answer();
  answer.set_version(answer_->status.version());
  answer.set_healthz(answer_->status.healthz());
  answer.set_key_id(answer_->status.key_id());
  answer.set_error(answer_->error);
  answer.set_previous_key_id(previous_key_id_);
  if (!key_id_.empty()) *answer.mutable_key_id_since() = to_timestamp(key_id_since_);
  if (!deep_answer_) return;
  mock_kms::v1::DeepProbe& deep = *status.mutable_deep_probe();
  *deep.mutable_at() = to_timestamp(*deep_at_);
  deep.set_key_id(deep_answer_->key_id);
  *deep.mutable_latency() = to_proto(deep_answer_->latency);
  deep.set_problem(deep_answer_->problem);
}

void Health::fill_latencies(mock_kms::v1::Probe& probe) const {
  const std::vector<Duration> all(latencies_.begin(), latencies_.end());
  *probe.mutable_latency() = to_proto(all.back());
  *probe.mutable_p50() = to_proto(quantile(all, 0.5));
  *probe.mutable_p99() = to_proto(quantile(all, 0.99));
  probe.set_slow(slow_);
  for (std::size_t i = all.size() - std::min(all.size(), recent_latencies); i < all.size(); ++i) {
    *probe.add_recent() = to_proto(all[i]);
  }
}

}  // namespace kms::supervisor
