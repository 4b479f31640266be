// Supervisor keeps one or more plugins alive. It owns the event loop, the control socket and one Instance per
// plugin, and it reaps every process. It runs as PID 1 of a container or as any process' child.
//
// One thread (run()'s) decides and acts; gRPC's threads only post to it.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/net/http_server.h"
#include "common/process/signals.h"
#include "supervisor/control/handler.h"
#include "supervisor/control/server.h"
#include "supervisor/daemon/service_manager.h"
#include "supervisor/instance/config.h"
#include "supervisor/instance/instance.h"

namespace kms::supervisor {

class Supervisor final : private ControlHandler {
 public:
  /// Blocks the supervisor's signals and ignores SIGPIPE, since a reader of stderr may go. Called before any
  /// thread exists, so that all threads inherit the mask.
  [[nodiscard]] static process::SignalFd block_signals();

  /// `signals` is that of block_signals() and outlives this. `control` is the claimed control socket. Throws
  /// Error if a plugin's socket or the metrics' address cannot be bound.
  Supervisor(SupervisorConfig config, UnixListener control, const process::SignalFd& signals);

  /// Supervises until a TERM or INT has ended all plugins, or none will be started again. Returns an exit
  /// code: failed if a plugin gave up or had to be killed at the end.
  [[nodiscard]] int run();

  ~Supervisor() override;
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

 private:
  void await_signals();
  void on_signal(int signal);
  [[nodiscard]] bool kills_group(pid_t pid) const;
  void on_exit(pid_t pid, process::ExitStatus status);
  void on_change(const Instance& instance);
  void notify_manager();
  void feed_watchdog();
  void age_oom_kills();
  void end_if_all_have_ended();
  void reload();
  void log_status();

  // ControlHandler.
  [[nodiscard]] bool has(unsigned instance) const override { return instance <= instances_.size(); }
  void status(unsigned number, bool with_binary, mock_kms::v1::SupervisorStatus& status,
              std::function<void()> done) override;
  void execute(ControlCommand command, unsigned number, const std::string& requester, Done done) override;
  void events(std::uint64_t after, unsigned number, mock_kms::v1::EventPage& page) const override;
  void output(std::uint64_t after, unsigned number, mock_kms::v1::OutputPage& page) const override;
  [[nodiscard]] std::string metrics() const override { return context_.metrics.text(); }

  [[nodiscard]] bool all_ready() const;
  [[nodiscard]] mock_kms::v1::SupervisorStatus summary() const;
  [[nodiscard]] std::vector<Instance*> chosen(unsigned number) const;
  void fill(mock_kms::v1::SupervisorStatus& status, const std::vector<Instance*>& instances,
            const std::vector<mock_kms::v1::BinaryOnDisk>& binaries) const;

  LineWriter writer_;  ///< destroyed last: everything else may log
  asio::io_context loop_;
  InstanceContext context_;
  std::vector<std::unique_ptr<Instance>> instances_;
  std::string termination_log_;
  bool stopping_ = false;
  ServiceManager manager_;
  asio::steady_timer watchdog_timer_;
  asio::steady_timer oom_timer_;
  std::chrono::system_clock::time_point started_ = std::chrono::system_clock::now();
  const process::SignalFd& signals_;
  asio::posix::stream_descriptor readable_signals_;
  std::optional<HttpServer> metrics_;
  ControlServer control_;  ///< destroyed first: it still answers from all of the above
};

}  // namespace kms::supervisor
