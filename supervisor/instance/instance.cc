#include "supervisor/instance/instance.h"

#include <algorithm>
#include <asio/post.hpp>
#include <csignal>
#include <random>
#include <utility>

#include "common/text/time.h"

namespace kms::supervisor {
namespace {

Time now() { return std::chrono::steady_clock::now(); }

}  // namespace

Instance::Instance(InstanceContext& context, unsigned number, InstanceConfig config,
                   std::function<void(const Instance&)> changed)
    : context_(context),
      number_(number),
      config_(std::move(config)),
      changed_(std::move(changed)),
      binary_{process::find_program(config_.plugin.command.at(0)), config_.build_info},
      lifecycle_(config_.policy, std::random_device()()),
      record_(number_, config_.policy, context.history, context.metrics, context.oom_kills),
      socket_(context.loop, context.paths, config_, record_, [this] { check_socket(); }),
      timer_(context.loop) {
  context_.metrics.add(number_, config_.socket.uri());
  if (config_.watch_binary)
    binary_watch_.emplace(context_.binaries, context_.paths, binary_, record_,
                          [this] { dispatch(RestartRequested{}); });
}

PluginProcess* Instance::process(Generation generation) const {
  const auto found = processes_.find(generation);
  return found == processes_.end() ? nullptr : found->second.get();
}

PluginSocket::ActiveProcess Instance::active_process() const {
  const PluginProcess* active = process(active_);
  const bool starting = std::holds_alternative<Starting>(lifecycle_.state());
  return {active_, active == nullptr ? 0 : active->pid(), ready(),
          (starting || ready()) && !lifecycle_.restarting(), active != nullptr && active->killed()};
}

// Events.

std::optional<Generation> Instance::generation_of(pid_t pid) const {
  const auto found = std::find_if(processes_.begin(), processes_.end(),
                                  [pid](const auto& entry) { return entry.second->pid() == pid; });
  return found == processes_.end() ? std::nullopt : std::optional(found->first);
}

bool Instance::kills_group(pid_t pid) const {
  const auto generation = generation_of(pid);
  return generation && !process(*generation)->asked_to_end();
}

bool Instance::reaped(pid_t pid, process::ExitStatus status) {
  const auto generation = generation_of(pid);
  if (!generation) return false;
  process(*generation)->leader_ended([this, ended = *generation, status] { on_end(ended, status); });
  return true;
}

void Instance::on_end(Generation generation, process::ExitStatus status) {
  const PluginProcess& gone = *process(generation);
  if (generation == active_) socket_.active_process_ended();
  ended_ = {gone.pid(), status, gone.health().answered(), gone.killed(), gone.last_lines()};
  if (generation == lifecycle_.generation() && !ended_.answered) judge_handover(status);
  dispatch(Exited{generation, status});
  processes_.erase(generation);
}

/// The active process has ended before it ever answered. If a signal ended it, or it was asked to end, that
/// says nothing about the handover.
void Instance::judge_handover(process::ExitStatus status) {
  const auto* ending = std::get_if<Ending>(&lifecycle_.state());
  if (ending != nullptr && ending->cause == EndCause::never_ready) {
    (void)socket_.handover().failed("it did not answer within " +
                                    go_duration(config_.policy.startup_timeout));
  } else if (std::holds_alternative<Starting>(lifecycle_.state()) && !status.signaled()) {
    (void)socket_.handover().failed("it " + status.text() + " before it answered");
  }
}

void Instance::on_line(pid_t pid, std::string line) {
  output_.add(++context_.lines, pid, line);
  context_.writer.write(plugin_line(config_.output, number_, pid, std::move(line)));
}

void Instance::on_probe(const ProbeResult& result) {
  PluginProcess* probed = process(result.generation);
  if (probed == nullptr) return;
  const bool active = result.generation == active_;
  const auto* failure = std::get_if<ProbeFailure>(&result.outcome);
  if (failure != nullptr && failure->broken && probed->probed_anew()) {
    // It accepts connections. This one met what others meet too, such as a fault that drops them.
    return probed->probe(config_.policy.probe_timeout, false);
  }
  record_.probed(probed->pid(), probed->health(), result, active, now());
  if (failure != nullptr) dispatch(ProbeFailed{result.generation});
  if (const auto* answer = std::get_if<ProbeAnswer>(&result.outcome))
    on_answer(*probed, result.generation, *answer);
  if (active && !socket_.lost()) check_socket();
  report_if_changed();
}

void Instance::on_answer(const PluginProcess& probed, Generation generation, const ProbeAnswer& answer) {
  const bool good = probed.health().fault().empty();
  if (socket_.answered(answer, generation == active_)) on_handover_result();
  dispatch(Answered{generation, good});
}

/// Two processes can be alive at once only if each answers over its private connection.
void Instance::on_handover_result() {
  const bool overlap = socket_.handover().private_probes();
  lifecycle_.allow_overlap(overlap);
  if (!config_.policy.standby || overlap || std::exchange(warned_of_standby_, true)) return;
  log::warning("--standby has no effect: two processes cannot be told apart",
               {{"socket", config_.socket.uri()}, {"handover", socket_.handover().text()}});
}

void Instance::check_socket() {
  switch (socket_.check(active_process())) {
    case PluginSocket::Remedy::none:
      return;
    case PluginSocket::Remedy::restart:
      return dispatch(RestartRequested{});
    case PluginSocket::Remedy::kill:
      return process(active_)->send_signal(SIGKILL);
  }
}

void Instance::dispatch(Event event) {
  pending_.push_back(std::move(event));
  if (pending_.size() > 1) return;  // an action raised it; the loop below takes it next
  while (!pending_.empty()) {
    handle(pending_.front());
    pending_.pop_front();
  }
  set_timer();
}

void Instance::handle(const Event& event) {
  for (const Action& action : lifecycle_.handle(event, now())) {
    std::visit([this](const auto& a) { act(a); }, action);
  }
  record_.entered(lifecycle_.state());
  if (std::holds_alternative<Paused>(lifecycle_.state())) {
    for (const auto& done : std::exchange(pauses_, {})) done({});
  }
  report_if_changed();
}

void Instance::set_timer() {
  const auto deadline = lifecycle_.next_deadline();
  if (!deadline) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(*deadline);
  timer_.async_wait([this](const asio::error_code& error) {
    if (!error) dispatch(TimePassed{});
  });
}

void Instance::report_if_changed() {
  const PluginProcess* active = process(active_);
  Snapshot snapshot{lifecycle_.state().index(), active_, false, "", ""};
  if (active != nullptr) {
    snapshot.healthy = ready() && active->health().good() && socket_.unreachable(active_process()).empty();
    snapshot.fault = active->health().fault();
    snapshot.key_id = active->health().key_id();
  }
  if (snapshot == last_reported_) return;
  last_reported_ = std::move(snapshot);
  context_.metrics.ready(number_, ready());
  context_.metrics.healthy(number_, last_reported_.healthy);
  changed_(*this);
}

// Actions.

void Instance::act(const Launch& action) {
  const bool active = action.generation == lifecycle_.generation();
  if (active) {
    active_ = action.generation;
    record_.became_active();
  }
  try {
    launch(action.generation, active);
  } catch (const Error& error) {
    ended_ = {};
    ended_.launch_error = error.what();
    dispatch(LaunchFailed{action.generation, error.what()});
  }
}

void Instance::launch(Generation generation, bool active) {
  const UnixListener* listener = socket_.prepare(generation, active);
  const Handover& handover = socket_.handover();
  auto started = std::make_unique<PluginProcess>(
      context_.loop, context_.calls, generation,
      PluginProcess::Options{config_.plugin, config_.socket, listener, handover.private_probes(),
                             handover.only_at_endpoint(), config_.slow_after},
      [this, generation](std::string line) { on_line(process(generation)->pid(), std::move(line)); },
      // A cancelled probe may end after this instance is gone, but the loop then runs no more.
      [this, &loop = context_.loop](ProbeResult result) {
        asio::post(loop, [this, result = std::move(result)] { on_probe(result); });
      });
  record_.launched(started->pid(), generation, active);
  processes_.emplace(generation, std::move(started));
}

void Instance::act(const Activate& action) {
  if (PluginProcess* launched = process(action.generation)) launched->activate();
}

void Instance::act(const SendSignal& action) {
  if (PluginProcess* target = process(action.generation)) target->send_signal(action.signal);
}

/// If clients wait in the socket's queue, the probe is made as theirs: the plugin may answer over the
/// connection that it has and accept no other.
void Instance::act(const StartProbe& action) {
  PluginProcess* probed = process(action.generation);
  if (probed == nullptr) return;
  if (action.generation == active_ && socket_.clients_wait(active_process()))
    return probed->probe_anew(config_.policy.probe_timeout);
  const unsigned every = config_.deep_probe_every;
  const bool deep = every > 0 && probed->health().answered() && probed->count_probe() % every == 0;
  probed->probe(config_.policy.probe_timeout, deep);
}

void Instance::act(const ReportReady& action) {
  PluginProcess* ready = process(action.generation);
  ready->health().note_ready(action.after);
  record_.ready(ready->pid(), action.after, socket_.handover().text(),
                action.generation == lifecycle_.generation(), now());
}

void Instance::act(const ReportEnding& action) {
  const PluginProcess* ending = process(action.generation);
  record_.ending(ending->pid(), action.cause, ending->health().good_at(), action.generation == active_);
}

void Instance::act(const ReportPromoted& action) {
  active_ = action.generation;
  record_.promoted(process(action.generation)->pid(), ready(), now());
}

void Instance::act(const ReportEnd& action) {
  record_.ended(action, ended_, action.generation == active_, now());
}

void Instance::act(const ReportRestart& action) {
  if (!action.problem.empty()) record_.not_restarted(action.problem);
  const Outcome<> outcome = action.problem.empty() ? Outcome<>() : Outcome<>(Error(action.problem));
  for (const auto& done : std::exchange(restarts_, {})) done(outcome);
}

void Instance::act(const Finish& action) {
  ended_well_ = action.clean;
  for (const auto& done : std::exchange(restarts_, {})) done(Error("the plugin has ended for good"));
  for (const auto& done : std::exchange(pauses_, {})) done({});
}

// Commands.

void Instance::execute(ControlCommand command, const std::string& requester, ControlHandler::Done done) {
  switch (command) {
    case ControlCommand::restart:
      record_.report(mock_kms::v1::ASKED_TO_RESTART, log::Level::info, "asked to restart the plugin",
                     {{"by", requester}});
      restarts_.push_back(std::move(done));
      return dispatch(RestartRequested{});
    case ControlCommand::pause:
      record_.report(mock_kms::v1::ASKED_TO_STOP, log::Level::info,
                     "asked to stop the plugin and to start none", {{"by", requester}});
      if (ended()) return done({});
      record_.paused_by(requester);
      pauses_.push_back(std::move(done));
      return dispatch(PauseRequested{});
    case ControlCommand::resume:
      record_.report(mock_kms::v1::ASKED_TO_START, log::Level::info, "asked to start the plugin",
                     {{"by", requester}});
      if (!std::holds_alternative<Paused>(lifecycle_.state())) {
        const std::string problem = ended() ? "the plugin has ended for good; start the supervisor again"
                                            : "the plugin is not paused";
        record_.not_started(problem);
        return done(Error(problem));
      }
      dispatch(ResumeRequested{});
      record_.paused_by("");
      return done({});
  }
}

BinaryPaths Instance::binary() const {
  BinaryPaths paths = binary_;
  if (const PluginProcess* active = process(lifecycle_.generation())) paths.started = active->program();
  return paths;
}

void Instance::fill(mock_kms::v1::SupervisorStatus& status) const {
  status.set_instance(number_);
  std::optional<Record::Running> running;
  if (const PluginProcess* active = process(lifecycle_.generation()))
    running = {active->pid(), active->started(), &active->health()};
  record_.fill(status, running, socket_.unreachable(active_process()), now());
  for (const std::string& word : config_.plugin.command) status.add_command(word);
  socket_.fill(status);
  status.set_plugin_control(config_.control);
  status.set_deep_probe_every(config_.deep_probe_every);
  if (const auto& successor = lifecycle_.successor()) {
    const PluginProcess* waiting = process(successor->generation);
    status.mutable_standby()->set_pid(waiting == nullptr ? 0 : static_cast<std::uint32_t>(waiting->pid()));
    status.mutable_standby()->set_ready(successor->ready_since.has_value());
  }
}

}  // namespace kms::supervisor
