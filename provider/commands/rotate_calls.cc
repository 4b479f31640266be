#include "provider/commands/rotate_calls.h"

#include <google/protobuf/util/time_util.h>

#include <cstdio>

#include "common/cli/exit_code.h"
#include "common/text/protobuf.h"
#include "provider/commands/control_client.h"

namespace kms::provider {

int call_rotate(const ControlOptions& control, const RotateOptions& options) {
  mock_kms::v1::RotateRequest request;
  request.set_to(options.to);
  request.set_force(options.force);
  const auto reply = ControlClient(control).call(request, &ControlClient::Stub::Rotate);
  if (control.output == "json") {
    std::printf("%s\n", to_json(reply, JsonLayout::line).c_str());
  } else if (reply.from() == reply.to()) {
    std::printf("v%u was current already  %s\n", reply.to(), reply.key_id().c_str());
  } else {
    std::printf("v%u -> v%u  %s\n", reply.from(), reply.to(), reply.key_id().c_str());
  }
  return exit_code::ok;
}

int call_keys(const ControlOptions& control) {
  const auto list =
      ControlClient(control).call(mock_kms::v1::ListKeysRequest(), &ControlClient::Stub::ListKeys);
  if (control.output == "json") {
    std::printf("%s", to_json(list, JsonLayout::document).c_str());
    return exit_code::ok;
  }
  std::printf("%-10s %-21s %s\n", "VERSION", "SINCE", "KEY ID");
  for (const auto& key : list.keys()) {
    const std::string since = google::protobuf::util::TimeUtil::ToString(key.since());
    const std::string version = "v" + std::to_string(key.version()) + (key.current() ? " *" : "");
    std::printf("%-10s %-21s %s\n", version.c_str(), since.c_str(), key.key_id().c_str());
  }
  return exit_code::ok;
}

}  // namespace kms::provider
