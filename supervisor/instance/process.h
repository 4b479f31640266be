// PluginProcess is one process of the plugin: its pid, its output, its probes and its health.
//
// The Instance makes one per generation and uses it on the loop's thread. The Supervisor reaps the process;
// the Instance then calls leader_ended(). The process leads a process group, and the whole group counts as
// the plugin: a shell may end at TERM while the plugin behind it still answers calls. The destructor cancels
// a probe in progress.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/net/unix_listener.h"
#include "common/process/spawn.h"
#include "supervisor/output/plugin_output.h"
#include "supervisor/probe/health.h"
#include "supervisor/probe/probe.h"

namespace kms::supervisor {

class PluginProcess {
 public:
  using WallTime = std::chrono::system_clock::time_point;

  struct Options {
    process::Launch launch;  ///< without the descriptors, which are added here
    Endpoint endpoint;
    const UnixListener* listener;  ///< nullptr: the plugin binds the endpoint itself
    bool only_privately;           ///< with a listener: do not probe at the endpoint
    bool only_at_endpoint;         ///< with a listener: probe at the endpoint only
    Duration slow_after;           ///< an answer that takes longer is slow
  };

  /// Starts a process. With a listener it gets the listening socket, a private socket for probes and the pipe
  /// of activate(). Without one it is probed at the endpoint. `on_line` gets each line of output. Throws
  /// Error.
  PluginProcess(asio::io_context& loop, CallQueue& calls, Generation generation, Options options,
                std::function<void(std::string)> on_line, Probe::Sink sink);

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] WallTime started() const { return started_; }

  /// The file that it was started from, as it was then.
  [[nodiscard]] const struct stat& program() const { return program_; }
  [[nodiscard]] Health& health() { return health_; }
  [[nodiscard]] const Health& health() const { return health_; }

  /// Lets a plugin that was handed the listening socket accept on it. Does nothing for others, or twice.
  void activate();

  /// `deep`: with an Encrypt and a Decrypt after the Status.
  void probe(Duration timeout, bool deep) {
    probed_anew_ = false;
    probe_->probe(generation_, timeout, deep);
  }

  /// Probes over a new connection to the endpoint, as a new client would.
  void probe_anew(Duration timeout);
  [[nodiscard]] bool probed_anew() const { return probed_anew_; }

  /// Counts the probes, so that every n-th can be a deep one.
  [[nodiscard]] unsigned long count_probe() { return ++probes_; }

  /// Signals the whole process group.
  void send_signal(int signal);

  /// True if the supervisor has sent any signal. The rest of the group may then outlive its leader.
  [[nodiscard]] bool asked_to_end() const { return asked_to_end_; }

  /// True if the supervisor itself has sent KILL.
  [[nodiscard]] bool killed() const { return killed_; }

  /// The leader of the group has been reaped. Calls `on_end` once the rest of the group has ended too, or was
  /// killed. `on_end` may destroy this.
  void leader_ended(const std::function<void()>& on_end);

  [[nodiscard]] std::vector<std::string> last_lines() const { return output_.last_lines(); }

 private:
  Generation generation_;
  asio::steady_timer group_timer_;
  OutputPipe output_;
  Health health_;
  struct stat program_;
  UniqueFd activation_;  ///< the write end of the pipe
  unsigned long probes_ = 0;
  CallQueue& calls_;
  Endpoint endpoint_;
  Probe::Sink sink_;
  std::unique_ptr<Probe> probe_;
  std::unique_ptr<Probe> new_probe_;
  bool probed_anew_ = false;  ///< by the last probe
  pid_t pid_ = 0;
  bool asked_to_end_ = false;
  bool killed_ = false;
  WallTime started_ = std::chrono::system_clock::now();
};

}  // namespace kms::supervisor
