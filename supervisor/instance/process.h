// Child is one process of the plugin: its pid, its output, the supervisor's ends of what was handed down to
// it.
//
// Made and used on the loop's thread, one for each generation. It decides nothing; the loop reaps the process
// and tells it so. Its end closes the ends and gives up a probe under way.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/net/unix_listener.h"
#include "common/process/spawn.h"
#include "supervisor/output/plugin_output.h"
#include "supervisor/probe/health.h"
#include "supervisor/probe/probe.h"

namespace kms::supervisor {

class Child {
 public:
  using WallTime = std::chrono::system_clock::time_point;

  struct Plan {
    process::Launch launch;  ///< but for what is handed down, which is added here
    Endpoint endpoint;
    const UnixListener* listener;  ///< nullptr: the plugin binds the endpoint itself
    bool only_privately;           ///< with a listener: the endpoint itself is not probed
    bool only_at_endpoint;         ///< with a listener: nothing else is probed
    Duration slow_after;           ///< an answer that takes longer is a slow one
  };

  /// Starts a process. With a listener its socket is handed down, with a private socket for probes and a
  /// pipe by which the plugin is told to accept. Without one the plugin is on its own and probed on the
  /// endpoint. Throws Error.
  Child(asio::io_context& loop, CallQueue& calls, Generation generation, Plan plan,
        std::function<void(std::string)> pass_on, Probe::Sink sink);

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] WallTime started() const { return started_; }

  /// The file that it was started from, as it was then.
  [[nodiscard]] const struct stat& program() const { return program_; }
  [[nodiscard]] Health& health() { return health_; }
  [[nodiscard]] const Health& health() const { return health_; }

  /// Lets a plugin that holds the listening socket accept on it. Once; nothing to do where it has its own.
  void activate();

  /// `deep`: with an Encrypt and a Decrypt after the Status.
  void probe(Duration timeout, bool deep) {
    asked_anew_ = false;
    probe_->probe(generation_, timeout, deep);
  }

  /// The same over a new connection to the endpoint, as a client that waits there is answered or not.
  void probe_anew(Duration timeout);
  [[nodiscard]] bool asked_anew() const { return asked_anew_; }

  /// How often a probe was started, so that every n-th can be a deep one.
  [[nodiscard]] unsigned long count_probe() { return ++probes_; }

  /// KILL goes to the whole process group. Nothing after the process was reaped.
  void send_signal(int signal);

  /// The supervisor itself has sent KILL.
  [[nodiscard]] bool killed() const { return killed_; }

  /// The process has been reaped; what it left in its pipe is taken in.
  void reaped();

  [[nodiscard]] std::vector<std::string> last_lines() const { return output_.last_lines(); }

 private:
  Generation generation_;
  OutputPipe output_;
  Health health_;
  struct stat program_;
  UniqueFd turn_;
  unsigned long probes_ = 0;
  CallQueue& calls_;
  Endpoint endpoint_;
  Probe::Sink sink_;
  std::unique_ptr<Probe> probe_;
  std::unique_ptr<Probe> new_probe_;
  bool asked_anew_ = false;  ///< by the last probe
  pid_t pid_ = 0;
  bool alive_ = true;  ///< once it is made
  bool killed_ = false;
  WallTime started_ = std::chrono::system_clock::now();
};

}  // namespace kms::supervisor
