// PluginSocket keeps the plugin's endpoint reachable: it binds the listening socket, hands it down, and
// notices when the path is removed or replaced.
//
// The Instance owns it, on the loop's thread. check() decides what has to happen to the plugin; the Instance
// does it. A plugin that binds its own socket is watched too.
#pragma once

#include <sys/types.h>

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <functional>
#include <optional>
#include <string>

#include "common/net/unix_listener.h"
#include "supervisor/history/record.h"
#include "supervisor/instance/config.h"
#include "supervisor/instance/path_watch.h"
#include "supervisor/lifecycle/handover.h"

namespace kms::supervisor {

class PluginSocket {
 public:
  /// The active process, as far as the socket is concerned.
  struct ActiveProcess {
    Generation generation = 0;
    pid_t pid = 0;             ///< 0: none is running
    bool serving = false;      ///< it has become ready
    bool replaceable = false;  ///< it starts or serves, and no planned restart is in progress
    bool killed = false;       ///< the supervisor has sent KILL
  };

  /// The action that the Instance has to take.
  enum class Remedy { none, restart, kill };

  /// `config` and `record` outlive this. `check` is called when something happens in the socket's directory;
  /// it calls check(). Throws Error if the socket cannot be bound.
  PluginSocket(asio::io_context& loop, PathWatch& paths, const InstanceConfig& config, Record& record,
               std::function<void()> check);
  PluginSocket(const PluginSocket&) = delete;
  PluginSocket& operator=(const PluginSocket&) = delete;

  /// Removes what a plugin that bound its own socket left behind.
  ~PluginSocket();

  /// Before a process is launched: binds the socket, or removes a stale one. Returns what is to be handed
  /// down; nullptr if the plugin binds its own. Throws Error.
  [[nodiscard]] const UnixListener* prepare(Generation generation, bool active);

  /// To be called after each probe of the active process too, since inotify may be missing or incomplete.
  [[nodiscard]] Remedy check(const ActiveProcess& active);

  /// The plugin answered. True if this answer says how it gets its socket.
  bool answered(const ProbeAnswer& answer, bool active);

  /// The active process has been reaped.
  void active_process_ended() { own_socket_.reset(); }

  /// True if connections wait in the queue of the socket that the active process serves.
  [[nodiscard]] bool clients_wait(const ActiveProcess& active) const;

  /// Why clients do not reach the plugin; "" if they do.
  [[nodiscard]] std::string unreachable(const ActiveProcess& active) const;

  /// True while the socket waits to be bound again.
  [[nodiscard]] bool lost() const { return lost_; }

  [[nodiscard]] Handover& handover() { return handover_; }
  [[nodiscard]] const Handover& handover() const { return handover_; }

  /// Fills socket and handover.
  void fill(mock_kms::v1::SupervisorStatus& status) const;

 private:
  /// Identifies a socket file.
  struct File {
    dev_t device;
    ino_t inode;

    bool operator==(const File&) const = default;
  };

  [[nodiscard]] std::optional<File> file() const;
  void bind();
  [[nodiscard]] Remedy bind_again(const ActiveProcess& active);
  [[nodiscard]] Remedy path_taken(const ActiveProcess& active);
  [[nodiscard]] Remedy replace_holder_of_old_socket(const ActiveProcess& active);
  [[nodiscard]] Remedy check_own_socket(const ActiveProcess& active);
  [[nodiscard]] bool own_socket_lost();
  [[nodiscard]] bool holds_old_socket(const ActiveProcess& active) const;
  void report_lost();
  void check_in(Duration wait);

  const InstanceConfig& config_;
  Record& record_;
  std::function<void()> check_;
  asio::steady_timer timer_;
  Handover handover_;
  std::optional<UnixListener> listener_;  ///< while the socket is handed down
  Generation launched_ = 0;               ///< the newest process
  Generation listener_since_ = 0;         ///< the first process that has, or will have, the listener
  bool lost_ = false;
  std::string bind_error_;          ///< logged once
  Time next_replacement_;           ///< the earliest restart because of the socket
  std::optional<File> own_socket_;  ///< of a plugin that binds it, when it first answered
  pid_t own_listener_ = 0;          ///< the process that listens on it
  bool own_socket_missed_ = false;  ///< checked once more a moment later
};

/// If the process that called listen(2) at `endpoint` is gone or about to be, waits for the end of its
/// socket, at most for `timeout`. A process that shares the socket may not have ended yet.
void await_dying_listener(const Endpoint& endpoint, Duration timeout);

}  // namespace kms::supervisor
