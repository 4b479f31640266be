// ServiceManager reports the supervisor's state to systemd, or to whoever set NOTIFY_SOCKET, by the datagrams
// of sd_notify(3).
//
// The Supervisor owns it, on the loop's thread. It never blocks and never fails: if nobody listens, the
// message is dropped.
#pragma once

#include <optional>
#include <string>

#include "common/io/fd.h"
#include "common/text/time.h"

namespace kms::supervisor {

class ServiceManager {
 public:
  /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from the environment.
  ServiceManager();

  [[nodiscard]] bool listens() const { return static_cast<bool>(socket_); }

  /// The interval of "WATCHDOG=1": half of the manager's time-out. Empty if it watches nothing.
  [[nodiscard]] std::optional<Duration> watchdog_interval() const { return watchdog_interval_; }

  /// `state` is lines such as "READY=1".
  void notify(const std::string& state) const;

 private:
  UniqueFd socket_;
  std::optional<Duration> watchdog_interval_;
};

}  // namespace kms::supervisor
