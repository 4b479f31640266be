// What mock-kms-provider says of itself: the faults that it was told to show, and what became of its
// --config.
//
// Asked of its own control socket, where SupervisorStatus.plugin_control says that it is. Blocking.
#pragma once

#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

/// Fills injected_faults and plugin_config of `status`, or of each of its instances. Other plugins have no
/// such socket, and a hung one does not answer within half a second: then nothing is filled in.
void add_self_report(mock_kms::v1::SupervisorStatus& status);

}  // namespace kms::supervisor
