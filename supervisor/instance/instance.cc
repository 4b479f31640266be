#include "supervisor/instance/instance.h"

#include <csignal>
#include <random>

#include "common/net/unix_listener.h"
#include "common/text/time.h"

namespace kms::supervisor {
Instance::Instance(InstanceContext& context, unsigned number, InstanceConfig config,
                   std::function<void(const Instance&)> changed)
    : context_(context),
      number_(number),
      config_(std::move(config)),
      changed_(std::move(changed)),
      binary_{process::find_program(config_.plugin.command.at(0)), config_.build_info},
      lifecycle_(config_.policy, std::random_device()()),
      handover_(config_.handover),
      record_(std::chrono::system_clock::now()),
      timer_(context.loop),
      socket_timer_(context.loop) {
  context_.metrics.add(number_, config_.socket.uri());
  if (handover_.hand_down()) bind_socket();
  if (!config_.socket.abstract()) context_.paths.add(config_.socket.name(), [this] { check_socket(); });
  if (!config_.watch_binary) return;
  context_.paths.add(binary_.program, [this] { on_binary_change(); });
  on_binary_change();
}

Instance::~Instance() {
  if (!listener_) remove_stale_socket(config_.socket);  // a plugin that was killed could not
}

Child* Instance::child(Generation generation) const {
  const auto found = children_.find(generation);
  return found == children_.end() ? nullptr : found->second.get();
}

void Instance::tell(EventKind kind, log::Level level, const std::string& text, const log::Fields& details) {
  context_.history.add(kind, number_, text, details, std::chrono::system_clock::now());
  log::write(level, number_ == 0 ? text : "instance " + std::to_string(number_) + ": " + text, details);
}

bool Instance::reaped(pid_t pid, process::ExitStatus status) {
  const auto ended = std::find_if(children_.begin(), children_.end(),
                                  [pid](const auto& entry) { return entry.second->pid() == pid; });
  if (ended == children_.end()) return false;
  const Generation generation = ended->first;
  Child& gone = *ended->second;
  gone.reaped();
  if (generation == active_) own_socket_.reset();
  last_status_ = status;
  out_of_memory_ =
      status.signaled() && status.value() == SIGKILL && !gone.killed() && context_.oom_kills.claim();
  if (generation == lifecycle_.generation() && !gone.health().answered()) judge_handover(status);
  dispatch(Exited{generation, status});
  children_.erase(generation);
  return true;
}

/// The active process has ended before it ever answered. What a signal ended, or what was asked to end, says
/// nothing of how it would have come by its socket.
void Instance::judge_handover(process::ExitStatus status) {
  const auto* ending = std::get_if<Ending>(&lifecycle_.state());
  if (ending != nullptr && ending->cause == EndCause::never_ready) {
    (void)handover_.failed("it did not answer within " + go_duration(config_.policy.startup_timeout));
  } else if (std::holds_alternative<Starting>(lifecycle_.state()) && !status.signaled()) {
    (void)handover_.failed("it " + status.text() + " before it answered");
  }
}

void Instance::on_line(pid_t pid, std::string line) {
  output_.add(++context_.lines, pid, line, std::chrono::system_clock::now());
  if (config_.output == OutputFormat::json) {
    line = "{\"time\":\"" + rfc3339(std::chrono::system_clock::now()) +
           "\",\"instance\":" + std::to_string(number_) + ",\"pid\":" + std::to_string(pid) +
           ",\"line\":" + json_string(line) + "}";
  } else if (number_ > 0) {
    line.insert(0, std::to_string(number_) + "| ");
  }
  context_.writer.write(std::move(line));
}

void Instance::on_probe(const ProbeResult& result) {
  Child* probed = child(result.generation);
  if (probed == nullptr) return;
  const auto* silence = std::get_if<ProbeSilence>(&result.outcome);
  if (silence != nullptr && silence->broken && probed->asked_anew()) {
    // It accepts connections, and this one met what others meet, such as a fault that drops them.
    return probed->probe(config_.policy.probe_timeout, false);
  }
  Health& health = probed->health();
  const std::string fault = health.fault();
  const std::string key = health.key_id();
  const bool slow = health.slow();
  health.note(result, std::chrono::system_clock::now(), std::chrono::steady_clock::now());
  if (silence == nullptr) tell_changes(*probed, fault, key, slow);
  on_answer(*probed, result);
  // inotify tells of the socket's file sooner, but may not be had, or say nothing on some file systems.
  if (result.generation == active_ && !socket_lost_) check_socket();
  report_if_changed();
}

void Instance::on_answer(Child& probed, const ProbeResult& result) {
  if (const auto* silence = std::get_if<ProbeSilence>(&result.outcome)) {
    log::debug("a probe got no answer", {{"cause", silence->cause}});
    context_.metrics.silent(number_);
    dispatch(Unresponsive{result.generation});
  } else if (const auto* answer = std::get_if<ProbeAnswer>(&result.outcome)) {
    if (answer->error.empty()) on_handover_result(*answer);
    const bool good = probed.health().fault().empty();
    context_.metrics.answered(number_, answer->latency);
    if (result.generation == active_ && !listener_ && !own_socket_ && !config_.socket.abstract()) {
      own_socket_ = socket_file_at(config_.socket).value_or(SocketFile{});
      own_listener_ = listener_at(config_.socket);
    }
    if (good && result.generation == lifecycle_.generation())
      record_.answered_well(std::chrono::steady_clock::now());
    dispatch(Answered{result.generation, good});
  }
}

/// How the plugin that answered has come to its socket, as far as that was not known.
void Instance::on_handover_result(const ProbeAnswer& answer) {
  const bool own_socket = listener_ && !answer.privately && !listener_->in_place();
  if (own_socket || (handover_.private_probes() && !answer.privately)) return;
  handover_.answered(answer.privately);
  lifecycle_.allow_overlap(handover_.private_probes());
  if (!config_.policy.standby || handover_.private_probes() || std::exchange(warned_of_standby_, true))
    return;
  log::warning("--standby has no effect: two processes cannot be told apart",
               {{"socket", config_.socket.uri()}, {"handover", handover_.text()}});
}

void Instance::tell_changes(const Child& child, const std::string& fault_before,
                            const std::string& key_before, bool slow_before) {
  const Health& health = child.health();
  const auto pid = child.pid();
  if (health.fault() != fault_before) {
    if (health.fault().empty()) {
      tell(mock_kms::v1::HEALTHY, log::Level::info, "the plugin is healthy again", {{"pid", pid}});
    } else {
      tell(mock_kms::v1::UNHEALTHY, log::Level::warning, "the plugin answers, but " + health.fault(),
           {{"pid", pid}});
    }
  }
  if (health.key_id() != key_before && !key_before.empty()) {
    tell(mock_kms::v1::KEY_CHANGED, log::Level::info, "the plugin names another key",
         {{"pid", pid}, {"from", key_before}, {"to", health.key_id()}});
  }
  if (health.slow() && !slow_before) {
    tell(mock_kms::v1::SLOW, log::Level::warning, "the plugin answers slowly",
         {{"pid", pid}, {"took", human_duration(health.latency())}});
  }
}

void Instance::dispatch(Event event) {
  pending_.push_back(std::move(event));
  if (pending_.size() > 1) return;  // an action raised it: the loop below takes it next
  while (!pending_.empty()) {
    handle(pending_.front());
    pending_.pop_front();
  }
  set_timer();
}

void Instance::handle(const Event& event) {
  const Actions actions = lifecycle_.handle(event, std::chrono::steady_clock::now());
  for (const Action& action : actions) {
    std::visit([this](const auto& a) { act(a); }, action);
  }
  record_.entered(lifecycle_.state(), std::chrono::system_clock::now());
  if (std::holds_alternative<Paused>(lifecycle_.state())) {
    for (const ControlHandler::Done& done : std::exchange(pauses_, {})) done({});
  }
  report_if_changed();
}

void Instance::report_if_changed() {
  const Child* active = child(active_);
  Snapshot look{lifecycle_.state().index(), active_, false, "", ""};
  if (active != nullptr) {
    look.healthy = ready() && active->health().good() && unreachable().empty();
    look.fault = active->health().fault();
    look.key_id = active->health().key_id();
  }
  if (look == last_reported_) return;
  last_reported_ = std::move(look);
  context_.metrics.ready(number_, ready());
  context_.metrics.healthy(number_, last_reported_.healthy);
  changed_(*this);
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

BinaryPaths Instance::binary() const {
  BinaryPaths paths = binary_;
  if (const Child* active = child(lifecycle_.generation())) paths.started = active->program();
  return paths;
}

void Instance::fill(mock_kms::v1::SupervisorStatus& status) const {
  status.set_instance(number_);
  record_.fill(status, child(lifecycle_.generation()), unreachable(), std::chrono::steady_clock::now());
  for (const std::string& word : config_.plugin.command) status.add_command(word);
  *status.mutable_socket() = describe_socket(config_.socket);
  status.mutable_socket()->set_in_place(listener_ && listener_->in_place());
  status.set_handover(handover_.text());
  status.set_plugin_control(config_.control);
  if (const auto& successor = lifecycle_.successor()) {
    const Child* process = child(successor->generation);
    status.mutable_standby()->set_pid(process == nullptr ? 0 : static_cast<std::uint32_t>(process->pid()));
    status.mutable_standby()->set_ready(successor->ready);
  }
}

void Instance::execute(ControlCommand command, const std::string& requester, ControlHandler::Done done) {
  switch (command) {
    case ControlCommand::restart:
      tell(mock_kms::v1::ASKED_TO_RESTART, log::Level::info, "told to restart the plugin",
           {{"by", requester}});
      restarts_.push_back(std::move(done));
      return dispatch(RestartRequested{});
    case ControlCommand::pause:
      tell(mock_kms::v1::ASKED_TO_STOP, log::Level::info, "told to stop the plugin and to start none",
           {{"by", requester}});
      if (ended()) return done({});
      record_.paused_by(requester);
      pauses_.push_back(std::move(done));
      return dispatch(PauseRequested{});
    case ControlCommand::resume:
      tell(mock_kms::v1::ASKED_TO_START, log::Level::info, "told to start the plugin", {{"by", requester}});
      if (!std::holds_alternative<Paused>(lifecycle_.state())) {
        return done(Error(ended() ? "the plugin has ended for good; start the supervisor again"
                                  : "the plugin is not paused"));
      }
      dispatch(ResumeRequested{});
      record_.paused_by("");
      return done({});
  }
}

}  // namespace kms::supervisor
