// ServiceManager tells systemd, or whoever set NOTIFY_SOCKET, how the supervisor is: the datagrams of
// sd_notify(3).
//
// Owned by the Supervisor, on the loop's thread. It never blocks and never fails: who does not listen is not
// told.
#pragma once

#include <optional>
#include <string>

#include "common/io/fd.h"
#include "common/text/time.h"

namespace kms::supervisor {

class ServiceManager {
 public:
  /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID of this process' environment.
  ServiceManager();

  /// Whether anyone is to be told.
  [[nodiscard]] bool listens() const { return static_cast<bool>(socket_); }

  /// How often "WATCHDOG=1" is to be told: half of what the manager waits for; nothing where it waits for
  /// none.
  [[nodiscard]] std::optional<Duration> watchdog_interval() const { return watchdog_interval_; }

  /// `state` is lines such as "READY=1".
  void tell(const std::string& state) const;

 private:
  UniqueFd socket_;  ///< empty: nobody is to be told
  std::optional<Duration> watchdog_interval_;
};

}  // namespace kms::supervisor
