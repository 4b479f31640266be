// Instance is the loop around one Lifecycle: it turns timers, exits and probe results of one plugin into
// events, and actions into system calls.
//
// Owned by the Supervisor, on whose loop's thread all of it runs; gRPC's threads only post to it. Instances
// know nothing of each other.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/net/unix_listener.h"
#include "supervisor/control/handler.h"
#include "supervisor/history/record.h"
#include "supervisor/instance/binary.h"
#include "supervisor/instance/config.h"
#include "supervisor/instance/context.h"
#include "supervisor/instance/process.h"
#include "supervisor/instance/socket_file.h"
#include "supervisor/lifecycle/handover.h"
#include "supervisor/lifecycle/lifecycle.h"
#include "supervisor/output/output_log.h"

namespace kms::supervisor {

class Instance {
 public:
  /// `number` counts from 1; 0 for the only one. `changed` is called when its state, its process, its health
  /// or its key_id is another one; not before start(). Throws Error where the plugin's socket cannot be had.
  Instance(InstanceContext& context, unsigned number, InstanceConfig config,
           std::function<void(const Instance&)> changed);
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;
  ~Instance();

  void start() { dispatch(TimePassed{}); }

  /// Ends the plugin, by the signal that the supervisor got.
  void stop(int signal) { dispatch(StopRequested{signal}); }

  /// Whether `pid` is one of its processes, whose end is then dealt with.
  [[nodiscard]] bool reaped(pid_t pid, process::ExitStatus status);

  void execute(ControlCommand command, const std::string& requester, ControlHandler::Done done);

  /// All but the binary and the supervisor's own part.
  void fill(mock_kms::v1::SupervisorStatus& status) const;

  [[nodiscard]] BinaryPaths binary() const;
  [[nodiscard]] const OutputLog& output() const { return output_; }
  [[nodiscard]] unsigned number() const { return number_; }
  [[nodiscard]] const Endpoint& socket() const { return config_.socket; }
  [[nodiscard]] bool ready() const { return std::holds_alternative<Serving>(lifecycle_.state()); }

  /// Whether it has ended for good, and whether well: asked to, and within its grace.
  [[nodiscard]] bool ended() const { return std::holds_alternative<Stopped>(lifecycle_.state()); }
  [[nodiscard]] bool ended_well() const { return ended_well_; }

  /// The newest end and the last lines of its output; "" where there is none.
  [[nodiscard]] std::string termination_message() const { return record_.termination_message(); }

 private:
  using EventKind = mock_kms::v1::EventKind;

  /// What a line about it shows.
  struct Snapshot {
    std::size_t state = 0;
    Generation active = 0;
    bool healthy = false;
    std::string fault;
    std::string key_id;

    bool operator==(const Snapshot&) const = default;
  };

  // Events (instance.cc, instance_socket.cc).
  void on_probe(const ProbeResult& result);
  void on_answer(Child& probed, const ProbeResult& result);
  void judge_handover(process::ExitStatus status);
  void on_handover_result(const ProbeAnswer& answer);
  void on_line(pid_t pid, std::string line);
  void check_socket();
  void check_own_socket();
  void on_binary_change();
  void on_binary(const mock_kms::v1::BinaryOnDisk& binary);
  void report_if_changed();
  void dispatch(Event event);
  void handle(const Event& event);
  void set_timer();

  // Actions (instance_actions.cc).
  void act(const Launch& action);
  void act(const Activate& action);
  void act(const SendSignal& action);
  void act(const StartProbe& action);
  void act(const ReportReady& action);
  void act(const ReportUnresponsive& action);
  void act(const ReportPromoted& action);
  void act(const ReportEnd& action);
  void act(const ReportRestart& action);
  void act(const Finish& action);

  void tell(EventKind kind, log::Level level, const std::string& text, const log::Fields& details);
  void bind_socket();
  void bind_socket_anew();
  void took_the_path(Child& active);
  void replace_holder_of_old_socket();
  void check_socket_in(Duration wait);
  [[nodiscard]] bool active_holds_old_socket() const;
  [[nodiscard]] bool own_socket_lost();
  [[nodiscard]] bool clients_wait() const;
  [[nodiscard]] std::string unreachable() const;
  void tell_changes(const Child& child, const std::string& fault_before, const std::string& key_before,
                    bool slow_before);
  void outage_over();
  [[nodiscard]] std::string cause_of_end(const ReportEnd& action, const Child* gone);
  [[nodiscard]] Child* child(Generation generation) const;

  InstanceContext& context_;
  unsigned number_;
  InstanceConfig config_;
  std::function<void(const Instance&)> changed_;
  BinaryPaths binary_;
  Lifecycle lifecycle_;
  Handover handover_;
  Record record_;
  OutputLog output_;
  Snapshot last_reported_;                ///< when `changed` was called last
  Generation active_ = 0;                 ///< the active process, as far as actions have been carried out
  std::optional<UnixListener> listener_;  ///< while sockets are handed down
  Generation launched_ = 0;               ///< the newest process
  Generation socket_since_ = 0;           ///< the first process that has, or will have, the listener
  std::map<Generation, std::unique_ptr<Child>> children_;
  asio::steady_timer timer_;
  asio::steady_timer socket_timer_;
  std::string upgraded_to_;               ///< SHA-256 of the binary that runs, or that was tried last
  bool socket_lost_ = false;              ///< and not bound anew yet
  std::string bind_failure_;              ///< logged once
  Time next_replacement_;                 ///< of a process that holds an old socket, at the earliest
  std::optional<SocketFile> own_socket_;  ///< the active process' own, where it binds it
  pid_t own_listener_ = 0;                ///< the process that listens on it
  bool own_socket_missed_ = false;        ///< looked at once more a moment later
  std::deque<Event> pending_;
  std::vector<ControlHandler::Done> restarts_;  ///< commands that wait for an outcome
  std::vector<ControlHandler::Done> pauses_;
  std::optional<process::ExitStatus> last_status_;  ///< of the process whose end is being handled
  bool out_of_memory_ = false;                      ///< that is why it ended
  std::string launch_failure_;
  bool warned_of_standby_ = false;
  bool ended_well_ = true;
};

}  // namespace kms::supervisor
