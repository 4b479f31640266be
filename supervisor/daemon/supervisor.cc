#include "supervisor/daemon/supervisor.h"

#include <unistd.h>

#include <algorithm>
#include <asio/post.hpp>
#include <csignal>

#include "common/cli/exit_code.h"
#include "common/log/termination_message.h"
#include "common/process/reaper.h"
#include "common/text/lines.h"
#include "common/text/protobuf.h"
#include "supervisor/control/status_text.h"
#include "supervisor/daemon/termination_message.h"

namespace kms::supervisor {
namespace {

/// An out-of-memory kill explains a death that is seen up to this long after it, or up to twice as long.
constexpr auto oom_kill_age = std::chrono::seconds(10);

/// Calls `done` once all instances have answered, with what went wrong in each.
class GatheredOutcome {
 public:
  GatheredOutcome(std::size_t count, ControlHandler::Done done) : left_(count), done_(std::move(done)) {}

  void one_is_done(const Instance& instance, const Outcome<>& outcome) {
    if (!outcome) {
      problems_ += (problems_.empty() ? "" : "; ") +
                   (instance.number() == 0 ? "" : "instance " + std::to_string(instance.number()) + ": ") +
                   outcome.error().cause();
    }
    if (--left_ == 0) done_(problems_.empty() ? Outcome<>() : Error(problems_));
  }

 private:
  std::size_t left_;
  std::string problems_;
  ControlHandler::Done done_;
};

}  // namespace

process::SignalFd Supervisor::block_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  process::SignalFd signals({SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD});
  process::end_if_stuck(signals);
  return signals;
}

Supervisor::Supervisor(SupervisorConfig config, UnixListener control, const process::SignalFd& signals)
    : writer_(STDERR_FILENO),
      loop_(1),
      context_(loop_, writer_),
      termination_log_(std::move(config.termination_log)),
      watchdog_timer_(loop_),
      oom_timer_(loop_),
      signals_(signals),
      readable_signals_(loop_, signals.fd()),
      control_(loop_, std::move(control), *this) {
  log::redirect([this](std::string line) { writer_.write(std::move(line)); });
  if (config.metrics) {
    metrics_.emplace(*config.metrics, false,
                     HttpServer::Handlers{{"/metrics", [this] { return HttpResponse{metrics()}; }}});
    log::info("serving metrics", {{"url", metrics_->url() + "/metrics"}});
  }
  const bool several = config.plugins.size() > 1;
  for (InstanceConfig& plugin : config.plugins) {
    const auto number = several ? static_cast<unsigned>(instances_.size() + 1) : 0;
    instances_.push_back(std::make_unique<Instance>(context_, number, std::move(plugin),
                                                    [this](const auto& changed) { on_change(changed); }));
  }
}

Supervisor::~Supervisor() {
  (void)readable_signals_.release();  // the descriptor is signals_'
  context_.binaries.finish();
  log::redirect({});
}

int Supervisor::run() {
  process::become_subreaper();
  await_signals();
  feed_watchdog();
  age_oom_kills();
  for (const auto& instance : instances_) instance->start();
  loop_.run();
  const bool well = std::all_of(instances_.begin(), instances_.end(),
                                [](const auto& instance) { return instance->ended_well(); });
  const int code = well ? exit_code::ok : exit_code::failed;
  process::end_soon(code);
  return code;
}

/// Several SIGCHLD may arrive as one.
void Supervisor::await_signals() {
  readable_signals_.async_wait(asio::posix::stream_descriptor::wait_read,
                               [this](const asio::error_code& error) {
                                 if (error) return;
                                 for (int signal = signals_.take(); signal != 0; signal = signals_.take())
                                   on_signal(signal);
                                 await_signals();
                               });
}

void Supervisor::on_signal(int signal) {
  if (signal == SIGCHLD) {
    process::reap([this](pid_t pid) { return kills_group(pid); },
                  [this](pid_t pid, process::ExitStatus status) { on_exit(pid, status); });
    return;
  }
  if (signal == SIGUSR1) return log_status();
  const bool reload_only = signal == SIGHUP;
  const std::string text = reload_only ? "asked to reload" : "asked to stop";
  const log::Fields details{{"signal", process::signal_name(signal)}};
  context_.history.add(mock_kms::v1::SUPERVISOR, 0, text, details);
  log::info(text, details);
  if (reload_only) return reload();
  stopping_ = true;
  manager_.notify("STOPPING=1");
  for (const auto& instance : instances_) instance->stop(signal);
}

/// A planned restart of each plugin, so that it reads its files again.
void Supervisor::reload() {
  for (const auto& instance : instances_)
    instance->execute(ControlCommand::restart, "SIGHUP", [](const auto&) {});
}

void Supervisor::log_status() {
  const auto answer = std::make_shared<mock_kms::v1::SupervisorStatus>();
  status(0, true, *answer, [answer] {
    const std::string text = status_text(*answer, std::chrono::system_clock::now());
    for (const std::string_view line : lines_of(text)) log::info("status: " + std::string(line));
  });
}

bool Supervisor::kills_group(pid_t pid) const {
  return std::any_of(instances_.begin(), instances_.end(),
                     [pid](const auto& instance) { return instance->kills_group(pid); });
}

void Supervisor::on_exit(pid_t pid, process::ExitStatus status) {
  const bool known = std::any_of(instances_.begin(), instances_.end(),
                                 [&](const auto& instance) { return instance->reaped(pid, status); });
  if (known) return;
  if (status.signaled() && status.value() == SIGKILL) (void)context_.oom_kills.claim();
  log::debug("reaped an orphan", {{"pid", pid}, {"status", status.text()}});
}

/// The end is posted, since the instance is in the middle of an event.
void Supervisor::on_change(const Instance& instance) {
  control_.set_serving(instance.socket().uri(), instance.ready());
  control_.set_serving("", all_ready());
  notify_manager();
  asio::post(loop_, [this] { end_if_all_have_ended(); });
}

bool Supervisor::all_ready() const {
  return std::all_of(instances_.begin(), instances_.end(), [](const auto& i) { return i->ready(); });
}

/// Repeating READY=1 does no harm (sd_notify(3)).
void Supervisor::notify_manager() {
  if (!manager_.listens()) return;
  mock_kms::v1::SupervisorStatus whole = summary();
  make_fields_utf8(whole);
  const std::string line = status_line(whole);
  manager_.notify((all_ready() ? "READY=1\nSTATUS=" : "STATUS=") + line.substr(0, line.find('\n')));
}

void Supervisor::feed_watchdog() {
  const auto interval = manager_.watchdog_interval();
  if (!interval) return;
  manager_.notify("WATCHDOG=1");
  watchdog_timer_.expires_after(*interval);
  watchdog_timer_.async_wait([this](const asio::error_code& stopped) {
    if (!stopped) feed_watchdog();
  });
}

void Supervisor::age_oom_kills() {
  context_.oom_kills.age();
  oom_timer_.expires_after(oom_kill_age);
  oom_timer_.async_wait([this](const asio::error_code& stopped) {
    if (!stopped) age_oom_kills();
  });
}

mock_kms::v1::SupervisorStatus Supervisor::summary() const {
  std::vector<mock_kms::v1::SupervisorStatus> parts(instances_.size());
  for (std::size_t i = 0; i < parts.size(); ++i) instances_[i]->fill(parts[i]);
  return summary_of(std::move(parts));
}

void Supervisor::end_if_all_have_ended() {
  if (!std::all_of(instances_.begin(), instances_.end(), [](const auto& i) { return i->ended(); })) return;
  if (!stopping_) {
    std::vector<FailedInstance> failed;
    for (const auto& instance : instances_) {
      if (!instance->ended_well() && instance->last_exit() != nullptr)
        failed.push_back({instance->number(), instance->last_exit()});
    }
    write_termination_message(termination_log_, termination_message(failed));
  }
  loop_.stop();
}

std::vector<Instance*> Supervisor::chosen(unsigned number) const {
  std::vector<Instance*> found;
  for (std::size_t i = 0; i < instances_.size(); ++i) {
    if (number == 0 || number == i + 1) found.push_back(instances_[i].get());
  }
  return found;
}

/// `binaries` is empty, or has one for each instance.
void Supervisor::fill(mock_kms::v1::SupervisorStatus& status, const std::vector<Instance*>& instances,
                      const std::vector<mock_kms::v1::BinaryOnDisk>& binaries) const {
  std::vector<mock_kms::v1::SupervisorStatus> parts(instances.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    instances[i]->fill(parts[i]);
    if (!binaries.empty()) *parts[i].mutable_binary() = binaries[i];
  }
  status = summary_of(std::move(parts));
  status.set_dropped_lines(static_cast<std::uint32_t>(writer_.dropped()));
  status.set_supervisor_pid(static_cast<std::uint32_t>(::getpid()));
  *status.mutable_supervisor_started_at() = to_timestamp(started_);
  status.set_supervisor_version(KMS_VERSION);
  make_fields_utf8(status);
}

void Supervisor::status(unsigned number, bool with_binary, mock_kms::v1::SupervisorStatus& status,
                        std::function<void()> done) {
  const std::vector<Instance*> instances = chosen(number);
  if (!with_binary) {
    fill(status, instances, {});
    return done();
  }
  std::vector<BinaryPaths> binaries;
  binaries.reserve(instances.size());
  for (const Instance* instance : instances) binaries.push_back(instance->binary());
  context_.binaries.describe(std::move(binaries),
                             [this, instances, &status, done = std::move(done)](const auto& described) {
                               fill(status, instances, described);
                               done();
                             });
}

void Supervisor::execute(ControlCommand command, unsigned number, const std::string& requester, Done done) {
  const std::vector<Instance*> instances = chosen(number);
  const auto gathered = std::make_shared<GatheredOutcome>(instances.size(), std::move(done));
  for (Instance* instance : instances) {
    instance->execute(command, requester, [gathered, instance](const Outcome<>& outcome) {
      gathered->one_is_done(*instance, outcome);
    });
  }
}

void Supervisor::events(std::uint64_t after, unsigned number, mock_kms::v1::EventPage& page) const {
  context_.history.read(after, instances_.size() > 1 ? number : 0, page);
}

void Supervisor::output(std::uint64_t after, unsigned number, mock_kms::v1::OutputPage& page) const {
  for (const Instance* instance : chosen(number)) instance->output().read(after, instance->number(), page);
  std::sort(page.mutable_lines()->begin(), page.mutable_lines()->end(),
            [](const auto& a, const auto& b) { return a.number() < b.number(); });
}

}  // namespace kms::supervisor
