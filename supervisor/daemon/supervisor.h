// Supervisor keeps one plugin alive, or several: it owns the loop, the signals, the control socket and one
// Instance for each. PID 1 of the container, or any process' child.
//
// One thread (run()'s) decides and acts; the threads of gRPC only post to it.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/control/handler.h"
#include "supervisor/control/server.h"
#include "supervisor/daemon/service_manager.h"
#include "supervisor/daemon/signals.h"
#include "supervisor/instance/config.h"
#include "supervisor/instance/context.h"
#include "supervisor/instance/instance.h"

namespace kms::supervisor {

class Supervisor final : private ControlHandler {
 public:
  /// `control` is the claimed control socket. block_signals() has been called before. Throws Error where a
  /// plugin's socket or the metrics' address cannot be had.
  Supervisor(SupervisorConfig plan, UnixListener control);

  /// Supervises until a TERM or INT has ended all plugins, or none will be started again. Returns an exit
  /// code: ok, or failed where one gave up or had to be killed at the end.
  [[nodiscard]] int run();

  ~Supervisor() override;
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

 private:
  void on_signal(int signal);
  void on_exit(pid_t pid, process::ExitStatus status);
  void on_change(const Instance& instance);
  void tell_manager();
  void feed_watchdog();
  void age_oom_kills();
  void end_if_all_have_ended();
  void reload();
  void log_status();
  void leave_last_words() const;

  // ControlHandler.
  [[nodiscard]] bool has(unsigned instance) const override { return instance <= instances_.size(); }
  void status(unsigned number, mock_kms::v1::SupervisorStatus& status, std::function<void()> done) override;
  void execute(ControlCommand command, unsigned number, const std::string& requester, Done done) override;
  void events(std::uint64_t after, unsigned number, mock_kms::v1::EventPage& page) const override;
  void output(std::uint64_t after, unsigned number, mock_kms::v1::OutputPage& page) const override;
  [[nodiscard]] std::string metrics() const override { return context_.metrics.text(); }

  [[nodiscard]] bool all_ready() const;
  [[nodiscard]] mock_kms::v1::SupervisorStatus summary() const;
  [[nodiscard]] std::vector<Instance*> chosen(unsigned number) const;
  void fill_own(mock_kms::v1::SupervisorStatus& status) const;

  LineWriter writer_;  ///< first, and so the last to go: all else may log
  asio::io_context loop_;
  InstanceContext context_;
  std::vector<std::unique_ptr<Instance>> instances_;
  std::string termination_log_;
  bool stopping_ = false;
  ServiceManager manager_;
  asio::steady_timer watchdog_timer_;
  asio::steady_timer oom_timer_;
  std::chrono::system_clock::time_point started_ = std::chrono::system_clock::now();
  SignalSource signals_;
  std::optional<MetricsServer> metrics_;
  ControlServer control_;  ///< last, since its end still answers from all of the above
};

}  // namespace kms::supervisor
