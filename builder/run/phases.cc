#include "builder/run/phases.h"

#include <google/protobuf/util/time_util.h>

#include "common/log/log.h"

namespace kms::builder {

void Phases::note(const std::string& name, Duration duration) {
  log::info("phase done", {{"phase", name}, {"duration", human_duration(duration)}});
  auto* phase = info_.add_phases();
  phase->set_name(name);
  *phase->mutable_duration() = google::protobuf::util::TimeUtil::NanosecondsToDuration(duration.count());
}

}  // namespace kms::builder
