// Instance runs one plugin: it turns timers, exits and probe results into events for its Lifecycle, and
// executes the actions that come back.
//
// The Supervisor owns it; everything runs on the loop's thread, and gRPC's threads only post to it. Instances
// do not know each other. Its parts each have one job: PluginProcess, PluginSocket, BinaryWatch and Record.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/control/handler.h"
#include "supervisor/history/record.h"
#include "supervisor/instance/binary.h"
#include "supervisor/instance/config.h"
#include "supervisor/instance/path_watch.h"
#include "supervisor/instance/process.h"
#include "supervisor/instance/socket.h"
#include "supervisor/lifecycle/lifecycle.h"
#include "supervisor/output/line_writer.h"
#include "supervisor/output/plugin_output.h"

namespace kms::supervisor {

/// The parts that all instances share. The Supervisor owns it, and it outlives them.
struct InstanceContext {
  InstanceContext(asio::io_context& the_loop, LineWriter& the_writer) : loop(the_loop), writer(the_writer) {}

  asio::io_context& loop;
  LineWriter& writer;
  CallQueue calls;
  PathWatch paths{loop};
  BinaryReader binaries{loop};
  History history;
  OomKills oom_kills;
  Metrics metrics;
  std::uint64_t lines = 0;  ///< that plugins have written so far
};

class Instance {
 public:
  /// `number` counts from 1; 0 for the only one. `changed` is called when the state, the process, the health
  /// or the key_id changes, but not before start(). Throws Error if the plugin's socket cannot be bound.
  Instance(InstanceContext& context, unsigned number, InstanceConfig config,
           std::function<void(const Instance&)> changed);
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  void start() { dispatch(TimePassed{}); }

  /// Ends the plugin by the signal that the supervisor got.
  void stop(int signal) { dispatch(StopRequested{signal}); }

  /// True if the rest of the process group that `pid` led has to be killed: it was the plugin, and nobody
  /// asked it to end. Groups of other processes, such as a helper that became a daemon, are left alone.
  [[nodiscard]] bool kills_group(pid_t pid) const;

  /// Handles the end of a process. False if `pid` does not belong to this instance.
  [[nodiscard]] bool reaped(pid_t pid, process::ExitStatus status);

  void execute(ControlCommand command, const std::string& requester, ControlHandler::Done done);

  /// Fills everything but the binary and the supervisor's part.
  void fill(mock_kms::v1::SupervisorStatus& status) const;

  [[nodiscard]] BinaryPaths binary() const;
  [[nodiscard]] const OutputLog& output() const { return output_; }
  [[nodiscard]] unsigned number() const { return number_; }
  [[nodiscard]] const Endpoint& socket() const { return config_.socket; }
  [[nodiscard]] bool ready() const { return std::holds_alternative<Serving>(lifecycle_.state()); }

  /// True if the plugin has ended for good.
  [[nodiscard]] bool ended() const { return std::holds_alternative<Stopped>(lifecycle_.state()); }

  /// False if the plugin gave up or had to be killed at the end.
  [[nodiscard]] bool ended_well() const { return ended_well_; }

  /// The newest end of one of its processes; nullptr if there is none.
  [[nodiscard]] const mock_kms::v1::Exit* last_exit() const { return record_.last_exit(); }

 private:
  /// The values that `changed` reports on.
  struct Snapshot {
    std::size_t state = 0;
    Generation active = 0;
    bool healthy = false;
    std::string fault;
    std::string key_id;

    bool operator==(const Snapshot&) const = default;
  };

  // Events.
  void on_probe(const ProbeResult& result);
  void on_answer(const PluginProcess& probed, Generation generation, const ProbeAnswer& answer);
  void on_handover_result();
  void on_line(pid_t pid, std::string line);
  void check_socket();
  void on_end(Generation generation, process::ExitStatus status);
  void judge_handover(process::ExitStatus status);
  void dispatch(Event event);
  void handle(const Event& event);
  void set_timer();
  void report_if_changed();

  // Actions.
  void act(const Launch& action);
  void act(const Activate& action);
  void act(const SendSignal& action);
  void act(const StartProbe& action);
  void act(const ReportReady& action);
  void act(const ReportEnding& action);
  void act(const ReportPromoted& action);
  void act(const ReportEnd& action);
  void act(const ReportRestart& action);
  void act(const Finish& action);

  void launch(Generation generation, bool active);
  [[nodiscard]] PluginProcess* process(Generation generation) const;
  [[nodiscard]] std::optional<Generation> generation_of(pid_t pid) const;
  [[nodiscard]] PluginSocket::ActiveProcess active_process() const;

  InstanceContext& context_;
  unsigned number_;
  InstanceConfig config_;
  std::function<void(const Instance&)> changed_;
  BinaryPaths binary_;
  Lifecycle lifecycle_;
  Record record_;
  OutputLog output_;
  PluginSocket socket_;
  std::optional<BinaryWatch> binary_watch_;
  std::map<Generation, std::unique_ptr<PluginProcess>> processes_;
  Generation active_ = 0;  ///< the active process, as far as actions have been executed
  ProcessEnd ended_;       ///< the process whose end is being handled
  asio::steady_timer timer_;
  std::deque<Event> pending_;
  std::vector<ControlHandler::Done> restarts_;  ///< commands that wait for an outcome
  std::vector<ControlHandler::Done> pauses_;
  Snapshot last_reported_;
  bool warned_of_standby_ = false;
  bool ended_well_ = true;
};

}  // namespace kms::supervisor
