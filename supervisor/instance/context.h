// What all instances of a supervisor share. Owned by the Supervisor, and outlives them; on the loop's thread.
#pragma once

#include <asio/io_context.hpp>
#include <cstdint>

#include "supervisor/history/history.h"
#include "supervisor/history/metrics.h"
#include "supervisor/instance/binary.h"
#include "supervisor/instance/oom_kills.h"
#include "supervisor/instance/path_watch.h"
#include "supervisor/output/line_writer.h"
#include "supervisor/probe/call.h"

namespace kms::supervisor {

struct InstanceContext {
  InstanceContext(asio::io_context& the_loop, LineWriter& the_writer) : loop(the_loop), writer(the_writer) {}

  asio::io_context& loop;
  LineWriter& writer;
  CallQueue calls;
  PathWatch paths{loop};
  Binaries binaries{loop};
  History history;
  OomKills oom_kills;
  Metrics metrics;
  std::uint64_t lines = 0;  ///< that plugins have written so far
};

}  // namespace kms::supervisor
