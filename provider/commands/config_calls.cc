#include "provider/commands/config_calls.h"

#include <google/protobuf/util/time_util.h>

#include <cstdio>

#include "common/cli/exit_code.h"
#include "common/text/protobuf.h"
#include "provider/commands/control_client.h"
#include "provider/config/config.h"

namespace kms::provider {

using google::protobuf::util::TimeUtil;

int call_config(const ControlOptions& control) {
  const auto status =
      ControlClient(control).call(mock_kms::v1::ReadConfigRequest(), &ControlClient::Stub::ReadConfig);
  const int code = status.error().empty() ? exit_code::ok : exit_code::failed;
  if (control.output == "json") {
    std::printf("%s", to_json(status, JsonLayout::document).c_str());
    return code;
  }
  if (status.file().empty()) {
    std::printf("the provider has no file; start it with --config FILE\n");
    return code;
  }
  std::printf("file     %s\n", status.file().c_str());
  if (status.has_since()) {
    std::printf("since    %s\nsha256   %s\n", TimeUtil::ToString(status.since()).c_str(),
                status.sha256().c_str());
  }
  if (!status.remark().empty()) std::printf("remark   %s\n", status.remark().c_str());
  if (!status.error().empty()) {
    std::printf("error    %s\n         not in effect since %s\n", status.error().c_str(),
                TimeUtil::ToString(status.error_since()).c_str());
  }
  return code;
}

int check_config(const std::string& path) {
  std::string digest;
  const auto config = read_config(path, digest);
  if (!config) {
    throw Unanswered{exit_code::usage, "--check " + path + ": " + config.error().line()};
  }
  const auto& good = *config;
  std::printf("good: %d faults, %d steps of a scenario\n", good.faults_size(), good.scenario().steps_size());
  return exit_code::ok;
}

}  // namespace kms::provider
